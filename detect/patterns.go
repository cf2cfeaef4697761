package detect

import "slices"

// patternSet is a named set of texts that a rule asks for with |patterns.
type patternSet struct {
	contains []string
	regex    []string
}

var patternSets = map[string]patternSet{
	"sqli.primitives": {
		contains: []string{
			"xp_cmdshell", "xp_dirtree", "xp_regread", "sp_oacreate", "sp_executesql", "pg_sleep(", "pg_read_file(", "lo_import(",
			"dbms_pipe.receive_message", "utl_http.request", "utl_inaddr.", "load_file(", "into outfile", "into dumpfile",
			"information_schema.", "waitfor delay", "extractvalue(", "updatexml(", "@@version",
		},
		regex: []string{`(?i)\b(?:sleep|benchmark)\s*\(\s*\d+`, `(?i)\bcopy\s+\S+\s+(?:from|to)\s+program\b`},
	},
	"cmdi.primitives": {
		contains: []string{"/bin/sh -c", "/bin/bash -c", "/dev/tcp/", "base64 -d|", "base64 -d |", "powershell -enc", "cmd.exe /c", "mkfifo /tmp"},
		regex: []string{
			`(?i)(?:;|\||&&)\s*(?:cat|curl|wget|nc|ncat|bash|sh|python3?|perl|rm|chmod|id|whoami|uname)\b`,
			"\\$\\([a-z/][^)]{0,200}\\)",
		},
	},
	"path.sensitive": {
		contains: []string{"/.ssh/", "/.aws/", "/.kube/", "/etc/passwd", "/etc/shadow", "/etc/sudoers"},
		regex: []string{
			`(?i)(?:^|[/\\\s"'=])\.env(?:\.(?:local|prod|production|staging|development|dev|test))?(?:$|[\s"',;:)\]}])`,
			`(?i)(?:^|[/\\\s"'=~])\.(?:ssh|aws|kube)(?:$|[/\\\s"',;:)\]}])`,
			`(?i)(?:^|[/\\\s"'=])id_(?:rsa|dsa|ecdsa|ed25519)(?:$|[\s"',;:)\]}])`,
			`(?i)[^\s"'/\\]+\.pem(?:$|[\s"',;:)\]}])`,
		},
	},
	"error.disclosure": {
		contains: []string{
			"traceback (most recent call last)", "goroutine 1 [running]", "exception in thread \"", "you have an error in your sql syntax",
			"unclosed quotation mark", "ora-00933", "ora-01756", "sqlstate[", "pg::syntaxerror", "sqlite3.operationalerror", "psycopg2.errors",
		},
	},
}

func patternNames() []string {
	names := make([]string, 0, len(patternSets))
	for name := range patternSets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
