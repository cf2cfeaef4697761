package detect

import (
	"regexp"
	"strings"

	"github.com/corazawaf/libinjection-go"
)

var (
	sqlStatement = regexp.MustCompile(`(?i)^\s*(?:select|insert|update|delete|with|create|alter|explain|show|describe|merge)\s`)
	sqlTautology = regexp.MustCompile(`(?i)(?:\bor\b|\band\b|\|\|)\s*\(?\s*['"]?(\w{1,64})['"]?\s*(?:=|like)\s*['"]?(\w{1,64})`)
	sqlUnion     = regexp.MustCompile(`(?i)\bunion(?:\s|/\*.{0,40}?\*/)+(?:all\s+|distinct\s+)?select\b`)
	sqlStacked   = regexp.MustCompile(`(?i);\s*(?:drop|delete|insert|update|alter|exec|execute|create|truncate|shutdown|grant)\s+\w`)
	sqlBreak     = regexp.MustCompile(`(?i)['"]\s*\)*\s*(?:or|and|union|having|order\s+by|group\s+by)\b|['"]\s*\)*\s*;\s*\w`)
	sqlComment   = regexp.MustCompile(`(?:['")\w]\s*(?:--|#)\s*$)|['"]\s*(?:--|#|/\*)`)
	sqlSplit     = regexp.MustCompile(`(?i)\b(?:un|sel|uni|se|ins|upd|del|dr)/\*[^*]{0,20}\*/\w`)
	sqlPrimitive = regexp.MustCompile(`(?i)\bxp_(?:cmdshell|dirtree|regread|fileexist)\b|\bsp_(?:oacreate|executesql)\b|\b(?:pg_)?sleep\s*\(\s*\d|\bbenchmark\s*\(\s*\d|\bwaitfor\s+delay\b|\bload_file\s*\(|\binto\s+(?:out|dump)file\b|\butl_(?:http|inaddr)\.|\bdbms_(?:pipe|ldap|scheduler)\.|\binformation_schema\.\w|\bpg_read_file\s*\(|\bextractvalue\s*\(|\bupdatexml\s*\(`)
)

// findSQLi adds up signals: libinjection alone flags ordinary SQL and prose.
func findSQLi(f finder, v string) {
	var signals, hard float64
	if gatePrimitive.open(f.seen) && sqlPrimitive.MatchString(v) {
		hard = 0.7
	}
	if gateTautology.open(f.seen) {
		for _, m := range sqlTautology.FindAllStringSubmatch(v, 8) {
			if strings.EqualFold(m[1], m[2]) {
				signals += 0.5
				break
			}
		}
	}
	if gateUnion.open(f.seen) && sqlUnion.MatchString(v) {
		signals += 0.4
	}
	if f.seen&seenQuote != 0 && quoteBreaks(v) && sqlBreak.MatchString(v) {
		signals += 0.3
	}
	if gateComment.open(f.seen) && sqlComment.MatchString(v) {
		signals += 0.3
	}
	if f.seen&seenBlock != 0 && sqlSplit.MatchString(v) {
		signals += 0.4
	}
	if signals > 0 && sqlStatement.MatchString(v) {
		// A whole statement is what a SQL tool is for; only what reaches beyond the database stays.
		signals /= 2
	}
	if gateStacked.open(f.seen) && sqlStacked.MatchString(v) {
		signals += 0.5
	}
	if ok, _ := libinjection.IsSQLi(v[:min(len(v), maxClassify)]); ok {
		if signals == 0 && hard == 0 {
			f.add(catSQLi, "libinjection", 0.4)
			return
		}
		signals += 0.4
		if sqlStatement.MatchString(v) {
			signals -= 0.2
		}
	}
	rule := "combined"
	if hard > 0 {
		rule = "primitive"
	}
	f.add(catSQLi, rule, signals+hard)
}

// quoteBreaks reports whether a quote has behind it what sqlBreak may take up.
func quoteBreaks(v string) bool {
	for i := range len(v) {
		if v[i] != '\'' && v[i] != '"' {
			continue
		}
		j := i + 1
		for j < len(v) && (v[j] == ')' || strings.IndexByte(" \t\n\f\r", v[j]) >= 0) {
			j++
		}
		if j < len(v) && strings.IndexByte("oaughOAUGH;", v[j]) >= 0 {
			return true
		}
	}
	return false
}

const commands = `(?:cat\s+[/~.$*]|(?:curl|wget)\s+[-h/$'"]|n(?:c|cat)\s+(?:-|[\w.]+\s+\d)|(?:ba|z|da|k)?sh\s+-[ci]|rm\s+-|chmod\s+[+\d]|python3?\s+-c|perl\s+-e|powershell\b|cmd(?:\.exe)?\s+/c|base64\s+-d|ping\s+-[cn]|whoami\b|id\s*(?:[;&)]|$)|uname\s+-|ls\s+[-/]|sleep\s+\d|nslookup\s+\S+\.|printenv\b|env\s*$|touch\s+/|echo\s+\S+\s*>)`

var (
	cmdChained  = regexp.MustCompile(`(?i)(?:;|\|\|?|&&?)\s*(?:sudo\s+)?(?:/(?:usr/)?s?bin/)?` + commands)
	cmdPipeSh   = regexp.MustCompile(`(?i)\|\s*(?:sudo\s+)?(?:/(?:usr/)?bin/)?(?:ba|z|da|k)?sh(?:\s*$|\s*[;&]|\s+-)`)
	cmdSubst    = regexp.MustCompile(`(?i)\$\(\s*(?:sudo\s+)?(?:/(?:usr/)?s?bin/)?(?:` + commands + `|(?:id|whoami|hostname|ls|env|pwd)\b)`)
	cmdBacktick = regexp.MustCompile("(?i)(^|[\\w/=;&|\"'.])`\\s*(?:" + commands + "|(?:id|whoami|hostname|ls|env|uname)\\s*`)")
	cmdTool     = regexp.MustCompile(`(?i)\$\{IFS\}|/dev/tcp/[\w.]+/\d|/bin/(?:ba)?sh\s+-[ci]|\bmkfifo\s+/|powershell(?:\.exe)?\s+-e(?:nc|ncodedcommand)?\s|cmd\.exe\s*/c`)
)

func findCmdi(f finder, v string) {
	score, rule := 0.0, ""
	take := func(re *regexp.Regexp, name string, s float64) {
		if s > score && re.MatchString(v) {
			score, rule = s, name
		}
	}
	if f.seen&seenShellTool != 0 {
		take(cmdTool, "tool", 0.85)
	}
	if f.seen&(seenPipe|seenShell) == seenPipe|seenShell {
		take(cmdPipeSh, "pipe_shell", 0.85)
	}
	if f.seen&(seenChain|seenCommand) == seenChain|seenCommand {
		take(cmdChained, "chained", 0.8)
	}
	if f.seen&seenSubst != 0 {
		take(cmdSubst, "substitution", 0.8)
	}
	if f.seen&seenTick != 0 {
		take(cmdBacktick, "backtick", 0.75)
	}
	if strings.HasPrefix(v, "#!") || strings.Contains(v, "```") || strings.Count(v, "\n") > 10 {
		score /= 2 // a script or a document that is written, not a value that broke out
	}
	f.add(catCmdi, rule, score)
}

var (
	xssScript  = regexp.MustCompile(`(?i)<script[\s/>]|<iframe[\s/>]|<svg[^>]*\bon\w+\s*=|data:text/html`)
	xssURL     = regexp.MustCompile(`(?i)(?:^|["'=\s(])(?:javascript|vbscript):\s*\S`)
	xssHandler = regexp.MustCompile(`(?i)<\w+[^>]*\bon(?:error|load|click|mouseover|focus|toggle)\s*=`)

	nosqlKey = regexp.MustCompile(`(?:["'{\[,.]\s*|^)\$(?:ne|gte?|lte?|where|regex|nin|in|exists|expr|function|or)["']?\s*(?:[:=\]]|$)`)

	sstiMath  = regexp.MustCompile(`(?:\{\{|\$\{|#\{|<%=)\s*['"]?\d{1,6}['"]?\s*[*+-]\s*['"]?\d{1,6}['"]?\s*(?:\}|%>)`)
	sstiReach = regexp.MustCompile(`(?:\{\{|\{%|\$\{|#\{|<%)[^}]*(?:__class__|__globals__|__import__|\.mro\b|lipsum|cycler|joiner|T\(java\.|Runtime|getClass|freemarker|popen\(|config\.items|self\._)`)

	deserial = regexp.MustCompile(`(?i)\$\{[^}]{0,60}jndi:|\brO0AB[A-Za-z0-9+/]|!!python/(?:object|name|module)|\bO:\d{1,4}:"|__reduce__|aced0005`)
)

func findXSS(f finder, v string) {
	switch {
	case xssHandler.MatchString(v):
		f.add(catXSS, "handler", 0.85)
	case xssScript.MatchString(v):
		f.add(catXSS, "script", 0.8)
	case xssURL.MatchString(v):
		f.add(catXSS, "url", 0.8)
	}
}

func findNoSQL(f finder, v string) {
	if nosqlKey.MatchString(v) {
		f.add(catNoSQL, "operator", 0.8)
	}
}

func findSSTI(f finder, v string) {
	switch {
	case sstiReach.MatchString(v):
		f.add(catSSTI, "reach", 0.95)
	case sstiMath.MatchString(v):
		f.add(catSSTI, "probe", 0.8)
	}
}

func findDeserialization(f finder, v string) {
	if deserial.MatchString(v) {
		f.add(catDeserialization, "gadget", 0.9)
	}
}
