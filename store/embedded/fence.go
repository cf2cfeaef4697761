package embedded

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// usersXML fences the engine off. Whoever can reach the port is its one user, who has no
// grant on a source: file(), url(), s3(), remote(), mysql() and every table engine of theirs
// need one, however a statement spells them. Settings that name a file, a disk or a server
// cannot be changed. The sessions of this package are the same user.
const usersXML = `<clickhouse>
<profiles><default><constraints>
<format_schema><const/></format_schema>
<format_schema_source><const/></format_schema_source>
<output_format_schema><const/></output_format_schema>
<format_template_resultset><const/></format_template_resultset>
<format_template_row><const/></format_template_row>
<format_avro_schema_registry_url><const/></format_avro_schema_registry_url>
<input_format_record_errors_file_path><const/></input_format_record_errors_file_path>
<allow_experimental_eval_table_function><const/></allow_experimental_eval_table_function>
<allow_experimental_ai_functions><const/></allow_experimental_ai_functions>
<merge_tree_disk><const/></merge_tree_disk>
<merge_tree_table_disk><const/></merge_tree_table_disk>
<merge_tree_storage_policy><const/></merge_tree_storage_policy>
</constraints></default></profiles>
<quotas><default/></quotas>
<users><default>
<password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY ON *.*</query></grants>
</default></users>
</clickhouse>
`

// The engine asks for no grant on what is left, so the text is searched for it: as it is and
// with escapes undone, in comments and literals too, because a reading of our own that differs
// from the engine's would be a gap in the fence. A literal that is one of the words passes.
var (
	outsideFunction = regexp.MustCompile(`(?i)(?:^|[^0-9a-z_])(file|executable|eval|sqlite)[\x60"]?[\x00-\x20]*(?:$|[(),/#-]|[^\x00-\x7f]|as[^0-9a-z_])`)
	outsideDisk     = regexp.MustCompile(`(?i)(?:^|[^0-9a-z_])(disk)[\x60"]?[\x00-\x20]*(?:[(/#-]|[^\x00-\x7f])`)
	applied         = regexp.MustCompile(`(?is)(?:^|[^0-9a-z_])apply[^0-9a-z_](?:.*[^0-9a-z_])?(file)(?:$|[^0-9a-z_])`)
	outsideClause   = regexp.MustCompile(`(?i)(?:^|[^0-9a-z_'])(infile|outfile)(?:$|[^0-9a-z_])`)
	// These take columns as text, with DEFAULT expressions in it that can be put together at run time.
	columnsAsText   = regexp.MustCompile(`(?i)(?:^|[^0-9a-z_])(format|generateRandom|input|null|catboostEvaluate)[\x60"]?(?:[\x00-\x20]|[^\x00-\x7f]|/\*(?s:.*?)\*/|(?:--|//|#|[^\x00-\x7f])[^\n]*\n)*\(`)
	valuesSetting   = regexp.MustCompile(`(?i)(` + expressions + `|` + templates + `)`)
	makesTable      = regexp.MustCompile(`(?i)(?:^|[^0-9a-z_])(?:create|attach|replace)(?:$|[^0-9a-z_])`)
	engineName      = regexp.MustCompile("(?i)(?:^|[^0-9a-z_])engine(?:$|[^0-9a-z_])(?:[\\s=`\"]*([0-9a-z_]+))?")
	identifierParam = regexp.MustCompile(`(?i)identifier`)
	escape          = regexp.MustCompile(`(?s)\\(?:x[0-9a-fA-F]{2}|.)`)
)

// insideEngines are those that keep or make their rows themselves, in lower case.
var insideEngines = map[string]bool{
	"mergetree": true, "replacingmergetree": true, "summingmergetree": true, "aggregatingmergetree": true, "collapsingmergetree": true,
	"versionedcollapsingmergetree": true, "coalescingmergetree": true, "graphitemergetree": true,
	"memory": true, "null": true, "set": true, "join": true, "log": true, "tinylog": true, "stripelog": true, "buffer": true, "merge": true,
	"generaterandom": true, "atomic": true,
}

// Whether VALUES may be expressions, and how they are read then.
const (
	expressions = "input_format_values_interpret_expressions"
	templates   = "input_format_values_deduce_templates_of_expressions"
)

// fence refuses a request that reaches outside the engine, and lets the values of an INSERT
// be expressions where these do not.
func (w *work) fence() *Error {
	if bad := fence(w.sql, w.params); bad != nil {
		return bad
	}
	for _, s := range w.settings {
		if bad := fence(s.Name+" = "+s.Value, nil); bad != nil {
			return bad
		}
	}
	if strings.EqualFold(w.format, "Values") && w.rows != nil && fence(string(bytes.Join(w.rows, nil)), nil) == nil {
		w.settings = append(w.settings, Setting{expressions, "1"})
	}
	return nil
}

// fence refuses a statement, without its rows, that reaches outside the engine.
func fence(sql string, params []Param) *Error {
	texts := []string{sql}
	if strings.Contains(sql, `\`) {
		texts = append(texts, unescape(sql))
	}
	for _, text := range texts {
		for _, re := range []*regexp.Regexp{outsideFunction, outsideDisk, applied, outsideClause, columnsAsText, valuesSetting} {
			if m := re.FindStringSubmatch(text); m != nil {
				return outside(strings.ToLower(m[1]))
			}
		}
		if !makesTable.MatchString(text) {
			continue
		}
		for _, m := range engineName.FindAllStringSubmatch(text, -1) {
			// Replicated ones need a Keeper, and none is configured.
			if !insideEngines[strings.TrimPrefix(strings.ToLower(m[1]), "replicated")] {
				return outside("engine " + m[1])
			}
		}
	}
	if identifierParam.MatchString(sql) {
		for _, p := range params {
			if outsideFunction.MatchString(" " + unescape(p.Value) + " ") {
				return outside(p.Value)
			}
		}
	}
	return nil
}

func outside(what string) *Error {
	return exception(codeAccessDenied, "The embedded engine refuses %q: a statement may not read or write files, run programs or reach the network. "+
		"Text that only looks like it can be sent as a query parameter", what)
}

// unescape undoes the escapes of quoted names: x`\x66i\Nle` is file.
func unescape(sql string) string {
	return escape.ReplaceAllStringFunc(sql, func(e string) string {
		switch {
		case e == `\N`:
			return ""
		case len(e) == len(`\x00`):
			if c, err := strconv.ParseUint(e[2:], 16, 8); err == nil {
				return string([]byte{byte(c)})
			}
		}
		return e[1:]
	})
}
