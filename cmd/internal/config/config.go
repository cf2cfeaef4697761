package config

import (
	"time"

	"picket/detect/diag"
)

// Config is every option. Tags: doc is its line of documentation; enum, min,
// max and format are checked by Load; unset says what an empty value means;
// secret names the Secret that a *_file option fills.
type Config struct {
	Roles    []string      `yaml:"roles" enum:"store,detect,correlate,notify" doc:"What this process does. Split the roles over processes to scale or isolate them."`
	Instance string        `yaml:"instance" unset:"host name and process id" doc:"Name of this process in logs, metrics and consumer groups."`
	DataDir  string        `yaml:"data_dir" format:"path" unset:"picket below $XDG_DATA_HOME or ~/.local/share, else ./picket-data" doc:"Where the embedded servers and generated keys live."`
	Lateness time.Duration `yaml:"lateness" min:"0s" max:"24h" doc:"An event that arrives later than this after it happened counts as late: it is stored and fires rules that need one event only."`

	Log        Log        `yaml:"log" doc:"What Picket says about itself, on standard error."`
	Admin      Admin      `yaml:"admin" doc:"Metrics, health and the preview page."`
	Kafka      Kafka      `yaml:"kafka" doc:"Where events come from and signals, alerts and deliveries go through."`
	ClickHouse ClickHouse `yaml:"clickhouse" doc:"Where every event is stored."`
	Privacy    Privacy    `yaml:"privacy" doc:"How people are pseudonymised before anything is stored."`
	Rules      Rules      `yaml:"rules" doc:"What is detected."`
	Batch      Batch      `yaml:"batch" doc:"How much is read before it is written; whichever limit is reached first."`
	Limits     Limits     `yaml:"limits" doc:"What detection carries at most, so that memory stays bounded whatever comes in. What is beyond is shed, the mildest rules first, and counted."`
	Alerting   Alerting   `yaml:"alerting" doc:"Who is told."`

	// Version is that of the program, which names itself to servers.
	Version string
	// Path is the file that was read, empty for the defaults alone.
	Path string
	// Warnings are not wrong enough to refuse.
	Warnings diag.Problems
}

type Log struct {
	Format string `yaml:"format" enum:"text,json" doc:"How lines are written."`
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"Least level that is written."`
}

type Admin struct {
	Listen string `yaml:"listen" format:"listen" unset:"no admin server" doc:"Address of the admin server. It has no authentication: keep it on loopback or a private network."`
	Pprof  bool   `yaml:"pprof" doc:"Serve Go's profiles under /debug/pprof/: they slow the process while one is taken, and name functions, not data."`
}

type Kafka struct {
	Brokers           []string      `yaml:"brokers" format:"address" unset:"an embedded broker in this process" doc:"Brokers to ask for the cluster's layout, as host:port."`
	ClientID          string        `yaml:"client_id" format:"required" doc:"Name that the brokers' logs and quotas know Picket by."`
	GroupPrefix       string        `yaml:"group_prefix" format:"required" doc:"Start of every consumer group's name."`
	DialTimeout       time.Duration `yaml:"dial_timeout" min:"100ms" max:"5m" doc:"How long to wait for a connection."`
	ReplicationFactor int           `yaml:"replication_factor" min:"1" max:"15" doc:"Copies of each partition that 'picket topics create' asks for; use 3 on a cluster."`
	TLS               TLS           `yaml:"tls" doc:"Encryption, and authentication by certificate."`
	SASL              SASL          `yaml:"sasl" doc:"Authentication by name and password."`
	Topics            Topics        `yaml:"topics" doc:"Names of the topics. Only events and dead hold raw values: give these two their own ACLs."`
	Partitions        Partitions    `yaml:"partitions" doc:"Numbers of partitions, which are fixed once the topics exist."`
	Retention         Retention     `yaml:"retention" doc:"How long topics keep records."`
	Embedded          KafkaEmbedded `yaml:"embedded" doc:"The embedded broker, used while brokers is empty."`
}

type TLS struct {
	Enabled    bool       `yaml:"enabled" doc:"Encrypt connections."`
	CAFile     string     `yaml:"ca_file" format:"path" unset:"the system's authorities" doc:"PEM file of the authorities that may sign the server's certificate."`
	CertFile   string     `yaml:"cert_file" format:"path" unset:"no client certificate" doc:"PEM file of the client certificate; needs key_file."`
	KeyFile    string     `yaml:"key_file" format:"path" unset:"no client certificate" doc:"PEM file of the client certificate's private key; needs cert_file."`
	ServerName string     `yaml:"server_name" unset:"the host that is dialled" doc:"Name that the server's certificate must carry."`
	MinVersion TLSVersion `yaml:"min_version" doc:"Least TLS version, 1.2 or 1.3."`
}

type SASL struct {
	Mechanism    string `yaml:"mechanism" enum:"none,plain,scram-sha-256,scram-sha-512" doc:"How to authenticate."`
	Username     string `yaml:"username" doc:"Name to authenticate with."`
	Password     Secret `yaml:"password" doc:"Password to authenticate with. Better: password_file or ${VARIABLE}."`
	PasswordFile string `yaml:"password_file" format:"path" secret:"Password" doc:"File that holds the password."`
}

type Topics struct {
	Events     string `yaml:"events" format:"topic" doc:"Raw events as servers and taps send them."`
	Signals    string `yaml:"signals" format:"topic" doc:"What matched, without raw values."`
	Alerts     string `yaml:"alerts" format:"topic" doc:"Alerts; one partition."`
	Deliveries string `yaml:"deliveries" format:"topic" doc:"What was told where; one partition."`
	Dead       string `yaml:"dead" format:"topic" doc:"Records that could not be read, as they came."`
}

type Partitions struct {
	Events  int `yaml:"events" min:"1" max:"1000" doc:"Partitions of the events topic: the most processes that can share reading it."`
	Signals int `yaml:"signals" min:"1" max:"1000" doc:"Partitions of the signals topic: the most processes that can share correlation."`
}

type Retention struct {
	Raw     time.Duration `yaml:"raw" min:"1h" max:"7d" doc:"For events and dead, which hold raw values. It must outlast the longest outage of ClickHouse to survive."`
	Signals time.Duration `yaml:"signals" min:"3h" max:"90d" doc:"For signals. It must outlast the longest window of a rule."`
	Alerts  time.Duration `yaml:"alerts" min:"1d" max:"365d" doc:"For alerts and deliveries. It must outlast the longest outage of a destination."`
}

type KafkaEmbedded struct {
	Listen string `yaml:"listen" format:"listen" unset:"127.0.0.1:9092, or a free port where another program has it" doc:"Address of the embedded broker; port 0 picks a free one."`
}

type ClickHouse struct {
	URL           string             `yaml:"url" format:"url:http,https,clickhouse" unset:"an embedded engine in this process" doc:"Server, such as https://clickhouse:8443 (HTTP) or clickhouse://clickhouse:9000 (native protocol)."`
	User          string             `yaml:"user" doc:"Name to authenticate with."`
	Password      Secret             `yaml:"password" doc:"Password to authenticate with. Better: password_file or ${VARIABLE}."`
	PasswordFile  string             `yaml:"password_file" format:"path" secret:"Password" doc:"File that holds the password."`
	Database      string             `yaml:"database" format:"identifier" doc:"Database of Picket's tables."`
	Compression   string             `yaml:"compression" enum:"auto,none,lz4,zstd" doc:"Compression of what is inserted; auto is none where ClickHouse is on this machine, and lz4 otherwise."`
	InsertTimeout time.Duration      `yaml:"insert_timeout" min:"1s" max:"10m" doc:"How long one insert may take before it is tried again."`
	TLS           TLS                `yaml:"tls" doc:"Encryption, and authentication by certificate. An https URL turns it on."`
	Embedded      ClickHouseEmbedded `yaml:"embedded" doc:"The embedded engine, used while url is empty."`
}

type ClickHouseEmbedded struct {
	Listen  string `yaml:"listen" format:"listen" unset:"127.0.0.1:8123, or a free port where another program has it" doc:"Address of the embedded engine's HTTP interface; port 0 picks a free one. It has no authentication: every user of the machine can read and change the tables."`
	Readers int    `yaml:"readers" min:"1" max:"64" doc:"Queries that may run at once beside the writer."`
}

type Privacy struct {
	KeysFile   string   `yaml:"keys_file" format:"path" unset:"keys.json in data_dir" doc:"Keys of the pseudonyms, made by 'picket keys new'. Without keys Picket refuses to start."`
	KeepLabels []string `yaml:"keep_labels" doc:"Labels whose values are no personal data and are stored as they are."`
}

type Rules struct {
	Builtin  bool     `yaml:"builtin" doc:"Load the pack that comes with Picket."`
	Dirs     []string `yaml:"dirs" format:"dir" unset:"the built-in pack only" doc:"Folders of rule files, loaded beside the built-in pack."`
	ListsDir string   `yaml:"lists_dir" format:"dir" unset:"no lists" doc:"Folder of the lists that rules name."`
	Disabled []string `yaml:"disabled" doc:"Ids of rules that must not run, such as IN-05."`

	Watch time.Duration `yaml:"watch" min:"0s" max:"1h" doc:"How often rule and list files are looked at for changes; 0 leaves it to SIGHUP."`
}

type Batch struct {
	MaxRows  int           `yaml:"max_rows" min:"1" max:"1000000" doc:"Events in a batch."`
	MaxBytes Size          `yaml:"max_bytes" min:"64KiB" max:"1GiB" doc:"Bytes in a batch."`
	MaxWait  time.Duration `yaml:"max_wait" min:"1ms" max:"1m" doc:"How long a batch of the store waits to fill up; while records come, its batches begin one and a half times as far apart."`
}

type Limits struct {
	MatchesPerEvent int `yaml:"matches_per_event" min:"1" max:"100000" doc:"Matches that the events of a batch may have on average."`
	WindowGroups    int `yaml:"window_groups" min:"1000" max:"16000000" doc:"Groups that the windows of one partition of signals may hold, at 71 bytes and more; of four times as many that went without an alert a number of 20 bytes stays until the bucket settles."`
	WindowPoints    int `yaml:"window_points" min:"1000" max:"250000000" doc:"Events of all groups that the windows of one partition of signals may hold; most take 12 bytes, none more than 24."`
	WindowEvidence  int `yaml:"window_evidence" min:"1000" max:"10000000" doc:"Pieces of evidence that the windows of one partition of signals may keep for alerts to come; one takes about 130 bytes."`
}

type Alerting struct {
	MinSeverity string    `yaml:"min_severity" enum:"info,low,medium,high,critical" doc:"Least severity that is told; alerts below it are stored only."`
	Preview     string    `yaml:"preview" enum:"auto,always,never" doc:"Page on the admin server that shows messages as Slack would; auto shows it while no destination is set."`
	Slack       Slack     `yaml:"slack" doc:"One thread an incident with a bot token; a webhook can only post."`
	PagerDuty   PagerDuty `yaml:"pagerduty" doc:"Events API v2."`
	Webhook     Webhook   `yaml:"webhook" doc:"Any program that takes a POST of JSON, picket.incident/1."`
}

type Slack struct {
	BotToken       Secret `yaml:"bot_token" unset:"no Slack, unless there is a webhook" doc:"Bot token, xoxb-..., with the scope chat:write. Better: bot_token_file or ${VARIABLE}."`
	BotTokenFile   string `yaml:"bot_token_file" format:"path" secret:"BotToken" doc:"File that holds the bot token."`
	Channel        string `yaml:"channel" doc:"Channel id (C0123456789) or name in quotes (\"#security\") that the bot posts to."`
	WebhookURL     Secret `yaml:"webhook_url" doc:"Incoming webhook, instead of a bot token. It is a secret too."`
	WebhookURLFile string `yaml:"webhook_url_file" format:"path" secret:"WebhookURL" doc:"File that holds the webhook's URL."`
	APIURL         string `yaml:"api_url" format:"url:http,https" doc:"Slack's API; change it for a proxy or a test."`
}

type PagerDuty struct {
	RoutingKey     Secret `yaml:"routing_key" unset:"no PagerDuty" doc:"Integration key of an Events API v2 integration. Better: routing_key_file or ${VARIABLE}."`
	RoutingKeyFile string `yaml:"routing_key_file" format:"path" secret:"RoutingKey" doc:"File that holds the integration key."`
	Region         string `yaml:"region" enum:"us,eu" doc:"Region of the PagerDuty account."`
	URL            string `yaml:"url" format:"url:http,https" unset:"the region's" doc:"Events API; change it for a proxy or a test."`
}

type Webhook struct {
	URL            Secret `yaml:"url" unset:"no webhook" doc:"Where to post; it may hold credentials. Better: url_file or ${VARIABLE}."`
	URLFile        string `yaml:"url_file" format:"path" secret:"URL" doc:"File that holds the URL."`
	SigningKey     Secret `yaml:"signing_key" unset:"not signed" doc:"Key of the header Picket-Signature, by which the receiver knows who posts. Better: signing_key_file or ${VARIABLE}."`
	SigningKeyFile string `yaml:"signing_key_file" format:"path" secret:"SigningKey" doc:"File that holds the signing key."`
}

// Agent is how the program names itself: picket/VERSION.
func (c *Config) Agent() string {
	if c.Version == "" {
		return "picket"
	}
	return "picket/" + c.Version
}

// Default is the configuration of an empty file, before Load fills in what
// depends on the machine.
func Default() *Config {
	tls := TLS{MinVersion: TLS13}
	return &Config{
		Roles:    []string{"store", "detect", "correlate", "notify"},
		Lateness: 15 * time.Minute,
		Log:      Log{Format: "text", Level: "info"},
		Admin:    Admin{Listen: "127.0.0.1:9750"},
		Kafka: Kafka{
			ClientID:    "picket",
			GroupPrefix: "picket",
			DialTimeout: 10 * time.Second,
			TLS:         tls,
			SASL:        SASL{Mechanism: "none"},
			Topics: Topics{
				Events: "mcp.events", Signals: "picket.signals", Alerts: "picket.alerts",
				Deliveries: "picket.deliveries", Dead: "picket.dead",
			},
			Partitions:        Partitions{Events: 6, Signals: 6},
			Retention:         Retention{Raw: 3 * day, Signals: 7 * day, Alerts: 30 * day},
			ReplicationFactor: 1,
		},
		ClickHouse: ClickHouse{
			User:          "default",
			Database:      "picket",
			TLS:           tls,
			Compression:   "auto",
			InsertTimeout: 30 * time.Second,
			Embedded:      ClickHouseEmbedded{Readers: 4},
		},
		Rules:  Rules{Builtin: true, Watch: 5 * time.Second},
		Batch:  Batch{MaxRows: 120_000, MaxBytes: 72 << 20, MaxWait: 500 * time.Millisecond},
		Limits: Limits{MatchesPerEvent: 20, WindowGroups: 1_000_000, WindowPoints: 20_000_000, WindowEvidence: 20_000},
		Alerting: Alerting{
			MinSeverity: "low",
			Slack:       Slack{APIURL: "https://slack.com/api/"},
			PagerDuty:   PagerDuty{Region: "us"},
			Preview:     "auto",
		},
	}
}

const day = 24 * time.Hour
