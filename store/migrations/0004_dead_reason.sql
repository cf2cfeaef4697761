-- Headers, `picket dead list` and docs say reason; the column is error. Now both names work, and SELECT * is as it was.

ALTER TABLE {{.DB}}.dead_letters{{.OnCluster}} ADD COLUMN IF NOT EXISTS reason String ALIAS error COMMENT 'the same as error: the name that headers and commands use';
