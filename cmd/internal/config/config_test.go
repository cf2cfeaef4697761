package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, text string, vars map[string]string) *Config {
	t.Helper()
	c, problems := Load(write(t, "picket.yaml", text), variables(vars))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func TestLoadFillsOverDefaults(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"pw": "hunter2\n", "token": "xoxb-1-2\r\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "picket.yaml")
	err := os.WriteFile(file, []byte(`
roles: [store, detect]
instance: ${HOST}
data_dir: data
kafka:
  brokers: ["${BROKER:-kafka-1:9093}", kafka-2:9093]
  partitions:
    events: "${EVENTS}"
    signals: 12
  tls: {enabled: true, min_version: 1.2}
  sasl: {mechanism: scram-sha-512, username: picket, password_file: pw}
clickhouse:
  url: https://clickhouse:8443
  password: ${DIGITS}
batch: {max_bytes: 1MiB, max_wait: 250ms}
kafka_note_is_not_here: ~
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(file, variables(map[string]string{"HOST": "12345", "EVENTS": "3", "DIGITS": "007"})); len(problems) != 1 || problems[0].Line != 16 {
		t.Fatalf("only the last line is wrong, got %v", problems)
	}

	text, _ := os.ReadFile(file)
	text = bytes.ReplaceAll(text, []byte("kafka_note_is_not_here: ~\n"), nil)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems := Load(file, variables(map[string]string{"HOST": "12345", "EVENTS": "3", "DIGITS": "007", "BROKER": ""}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := Default()
	want.Path = file
	want.Roles = []string{"store", "detect"}
	want.Instance = "12345"
	want.DataDir = filepath.Join(dir, "data")
	want.Privacy.KeysFile = filepath.Join(dir, "data", "keys.json")
	want.Kafka.Brokers = []string{"kafka-1:9093", "kafka-2:9093"}
	want.Kafka.Partitions = Partitions{Events: 3, Signals: 12}
	want.Kafka.TLS = TLS{Enabled: true, MinVersion: TLS12}
	want.Kafka.SASL = SASL{Mechanism: "scram-sha-512", Username: "picket", Password: NewSecret("hunter2"), PasswordFile: filepath.Join(dir, "pw")}
	want.ClickHouse.URL = "https://clickhouse:8443"
	want.ClickHouse.Password = NewSecret("007")
	want.Batch.MaxBytes, want.Batch.MaxWait = 1<<20, 250*time.Millisecond
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	if got := c.Kafka.SASL.Password.Reveal(); got != "hunter2" {
		t.Errorf("the newline at the file's end is not part of the secret: %q", got)
	}
}

func TestNoFileMeansDefaults(t *testing.T) {
	c, problems := Load("", variables(map[string]string{"HOME": "/home/ann"}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.DataDir != "/home/ann/.local/share/picket" || c.Privacy.KeysFile != "/home/ann/.local/share/picket/keys.json" {
		t.Error(c.DataDir, c.Privacy.KeysFile)
	}
	if !strings.HasSuffix(c.Instance, fmt.Sprint(":", os.Getpid())) {
		t.Error(c.Instance)
	}
	for _, tt := range []struct {
		vars map[string]string
		want string
	}{
		{nil, "picket-data"},
		{map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/picket"},
		{map[string]string{"HOME": "/h", "XDG_DATA_HOME": "relative"}, "/h/.local/share/picket"},
	} {
		if c, _ := Load("", variables(tt.vars)); c.DataDir != tt.want {
			t.Errorf("%v: %s, want %s", tt.vars, c.DataDir, tt.want)
		}
	}
	empty := load(t, "# nothing\n", nil)
	empty.Path, empty.Instance = "", ""
	none, _ := Load("", variables(nil))
	none.Instance = ""
	if !reflect.DeepEqual(empty, none) {
		t.Errorf("an empty file differs from none:\n%+v\n%+v", empty, none)
	}
}

func TestMissingFileSaysWhatToDo(t *testing.T) {
	c, problems := Load(filepath.Join(t.TempDir(), "none.yaml"), variables(nil))
	if c != nil || len(problems) != 1 || !strings.Contains(problems[0].String(), "no such file") || !strings.Contains(problems[0].Hint, "--print-default") {
		t.Error(c, problems)
	}
}

// A variable fills one value, whatever is in it.
func TestVariablesAreText(t *testing.T) {
	evil := "x\"\nlog: {level: debug} # ${OTHER} $$"
	c := load(t, "instance: ${A}\nclickhouse: {url: 'https://h', user: \"a$$b${B:-c:d}$e$\"}\n",
		map[string]string{"A": evil, "OTHER": "no", "B": ""})
	if c.Instance != evil || c.Log.Level != "info" {
		t.Errorf("%q %s", c.Instance, c.Log.Level)
	}
	if c.ClickHouse.User != "a$bc:d$e$" {
		t.Errorf("%q", c.ClickHouse.User)
	}
	for _, empty := range []string{"~", "${A:-}"} {
		_, problems := Load(write(t, "p.yaml", "batch: {max_rows: "+empty+"}"), variables(nil))
		if len(problems) != 1 || problems[0].Line != 1 {
			t.Error(empty, problems)
		}
	}
	// An anchor's value is interpolated once, wherever it is used.
	c = load(t, "instance: &x ${A}\nclickhouse: {url: 'https://h', user: *x}\n", map[string]string{"A": "$$${B}"})
	if c.ClickHouse.User != "$$${B}" {
		t.Errorf("%q", c.ClickHouse.User)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	c := Default()
	c.Kafka.SASL.Password = NewSecret("hunter2")
	hidden := struct{ inner SASL }{c.Kafka.SASL}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+verb+verb+verb, c.Kafka.SASL.Password, &c.Kafka.SASL.Password, c.Kafka, hidden)
	}
	enc, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(enc)
	if enc, err = yaml.Marshal(c); err != nil {
		t.Fatal(err)
	}
	b.Write(enc)
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("config", "secret", c.Kafka.SASL.Password, "pointer", &c.Kafka.SASL.Password, "all", c)
	}
	out := b.String()
	if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e746572") {
		t.Errorf("the secret is in\n%s", out)
	}
	if n := strings.Count(out, "redacted"); n < 15 {
		t.Errorf("only %d times redacted in\n%s", n, out)
	}
	if c.Kafka.SASL.Password.Reveal() != "hunter2" || NewSecret("").IsSet() || (Secret{}).String() != "" {
		t.Error("Reveal, IsSet or String")
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{"0B": 0, "100B": 100, "64KiB": 65536, "32MiB": 32 << 20, "1 GiB": 1 << 30, "10MB": 1e7, "5kB": 5000} {
		var s Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%s: %d, %v", in, s, err)
		}
		var back Size
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%s is shown as %s", in, s)
		}
	}
	for _, in := range []string{"", "5", "-1MiB", "1.5MiB", "MiB", "1TiB", "99999999999GiB", "1e3B"} {
		var s Size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was read as %d", in, s)
		}
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "pw"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := load(t, `
kafka:
  brokers: [kafka-1:9092]
  sasl:
    mechanism: plain
    username: picket
    password_file: `+dir+`/pw
clickhouse:
  url: http://clickhouse:8123
  password_file: `+dir+`/pw
`, nil)
	var got []string
	for _, w := range c.Warnings {
		got = append(got, fmt.Sprint(w.Line, " ", w.Msg))
	}
	want := []string{
		"5 plain sends the password unencrypted",
		"7 every user of this machine may read " + dir + "/pw",
		"9 the password is sent unencrypted",
		"10 every user of this machine may read " + dir + "/pw",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
