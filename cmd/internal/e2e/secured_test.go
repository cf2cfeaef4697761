package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

const (
	kafkaPassword      = "picket-dev" // of the test node's users
	clickhousePassword = "clickhouse-canary"
)

// TestSecured runs against servers that ask who is there: a real Kafka with ACLs, over TLS with a private
// authority, where SCRAM names the pipeline and client certificates name the people; and ClickHouse behind
// TLS and a password. Each user has the rights of deploy/kafka/acls.sh: they are enough, and all are used.
func TestSecured(t *testing.T) {
	short(t)
	t.Parallel()
	node := kafkatest.RealNode(t)
	w := newFiles(t, true, rule, 5*time.Second)
	w.startClickHouse()
	s := &secured{world: w, node: node, front: w.lockedClickHouse(node.PKI)}
	ca, err := os.ReadFile(node.PKI.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	s.authority = s.write("clickhouse-ca.pem", string(ca))
	s.write("kafka.password", kafkaPassword+"\n")
	s.write("clickhouse.password", clickhousePassword+"\n")
	setup, oncall := s.person("setup"), s.person("oncall")
	pipeline, admin := s.user("limited")

	s.fails(78, setup, "may not Create topic picket.meta", "topics", "create")
	maySetup := node.Grant(t, "setup", "CN=setup")
	s.does(setup, "made mcp.events", "topics", "create")

	s.fails(78, pipeline, "this user may not see it", "run")
	mayRun := node.Grant(t, "run", "limited")
	r := &run{url: "http://" + admin, proc: start(t, "run", pipeline, "run")}
	r.ready(30 * time.Second)
	s.send()
	eventually(t, 20*time.Second, "an alert and a dead letter are stored", func() bool {
		return w.count("SELECT count() FROM picket.alerts") > 0 && w.count("SELECT count() FROM picket.dead_letters") == 1
	})
	s.renews(r, string(ca))

	mayOperate := node.Grant(t, "operate", "CN=oncall")
	s.does(oncall, "adds up", "audit")
	s.does(oncall, "1 dead letter", "dead", "list")
	s.does(oncall, "1 dead letter sent again", "dead", "redrive", "--all", "--yes")
	eventually(t, 20*time.Second, "it is a dead letter again", func() bool { return w.count("SELECT count() FROM picket.dead_letters") == 2 })
	r.interrupt()
	s.silent(r.proc)
	res, err := http.Post(w.clickhouse, "text/plain", strings.NewReader("TRUNCATE TABLE picket.dead_letters"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s.fails(1, oncall, "2 records below the committed offset", "audit") // it looks into the log only where something is missing

	for user, granted := range map[string][]kafkatest.Right{"limited": mayRun, "CN=setup": maySetup, "CN=oncall": mayOperate} {
		denied, unused := node.Decided(t, user, granted)
		if len(unused) > 0 {
			t.Errorf("User:%s has rights that nothing used: %v", user, unused)
		}
		for _, d := range denied {
			if d.Resource != "topic:picket.meta" { // that was before they were granted
				t.Errorf("User:%s was denied %v", user, d)
			}
		}
	}
	s.fails(78, pipeline, "may not Read topic picket.dead", "dead", "list")
}

// renews replaces a file wrongly and then rightly, beside the process that uses it.
func (s *secured) renews(r *run, good string) {
	s.t.Helper()
	for _, step := range []struct {
		text, says string
		read       float64
	}{{"half of a fi", s.authority, 0}, {good, "the files can be read again", 1}} {
		s.write("clickhouse-ca.pem", step.text)
		s.front.CloseClientConnections()
		eventually(s.t, 20*time.Second, "the log and the metric say: "+step.says, func() bool {
			said := slices.ContainsFunc(r.proc.log(), func(line string) bool {
				return strings.Contains(line, "clickhouse.tls: ") && strings.Contains(line, step.says)
			})
			return said && r.metric(`picket_tls_files_read{section="clickhouse.tls"}`) == step.read && r.metric(`picket_tls_files_read{section="kafka.tls"}`) == 1
		})
	}
	r.ready(20 * time.Second)
}

// secured is a world whose servers ask who is there.
type secured struct {
	*world
	node      kafkatest.Node
	authority string           // that ClickHouse's clients trust
	front     *httptest.Server // before ClickHouse
}

// person is the configuration of somebody with a client certificate.
func (s *secured) person(name string) string {
	s.t.Helper()
	tls := s.certificate(name)
	return s.write(name+".yaml", s.config(s.node.MTLS, freePort(s.t, 1),
		fmt.Sprintf("tls: {enabled: true, ca_file: %q, cert_file: %q, key_file: %q}", tls.CAFile, tls.CertFile, tls.KeyFile)))
}

// user is the configuration of a user with a password, and its admin server's address.
func (s *secured) user(name string) (file, admin string) {
	s.t.Helper()
	port := freePort(s.t, 1)
	return s.write(name+".yaml", s.config(s.node.SASLTLS, port, fmt.Sprintf(
		"tls: {enabled: true, ca_file: %q}, sasl: {mechanism: scram-sha-512, username: %s, password_file: kafka.password}", s.node.PKI.CAFile, name,
	))), fmt.Sprintf("127.0.0.1:%d", port)
}

func (s *secured) config(broker string, admin int, auth string) string {
	return fmt.Sprintf(`instance: secured
data_dir: data
lateness: 5s
admin: {listen: "127.0.0.1:%d"}
kafka: {brokers: [%q], partitions: {events: 3, signals: 2}, %s}
clickhouse: {url: %q, user: picket, password_file: clickhouse.password, tls: {ca_file: %q}}
privacy: {keys_file: keys.json}
rules: {builtin: false, dirs: [rules]}
`, admin, broker, auth, s.front.URL, s.authority)
}

func (s *secured) certificate(name string) *kafka.TLSConfig {
	s.t.Helper()
	cert, key, err := s.node.PKI.Issue(name, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return &kafka.TLSConfig{Enabled: true, CAFile: s.node.PKI.CAFile, CertFile: cert, KeyFile: key}
}

// send produces what fires the rule, and one record that nobody can read.
func (s *secured) send() {
	s.t.Helper()
	s.node.Grant(s.t, "produce", "CN=server")
	p, err := kafka.NewProducer(kafka.Config{Brokers: []string{s.node.MTLS}, TLS: s.certificate("server")}, kafka.ProducerOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer p.Close()
	records := []kafka.Record{{Topic: "mcp.events", Value: []byte("garbage")}}
	for i := range 12 {
		records = append(records, kafka.Record{Topic: "mcp.events", Partition: int32(i % 3), Value: []byte(event(0, i, "authentication", "failure", "203.0.113.9"))})
	}
	if err := p.Produce(s.t.Context(), records); err != nil {
		s.t.Fatal(err)
	}
}

// does runs a command that must succeed and say something.
func (s *secured) does(config, says string, args ...string) {
	s.t.Helper()
	if out, code := s.command(config, args...); code != 0 || !strings.Contains(out, says) {
		s.t.Fatalf("picket %s: exit code %d, want 0 and %q:\n%s", strings.Join(args, " "), code, says, out)
	}
}

// fails runs a command that must be refused, for a reason.
func (s *secured) fails(want int, config, says string, args ...string) {
	s.t.Helper()
	if out, code := s.command(config, args...); code != want || !strings.Contains(out, says) {
		s.t.Fatalf("picket %s: exit code %d, want %d and %q:\n%s", strings.Join(args, " "), code, want, says, out)
	}
}

func (s *secured) command(config string, args ...string) (string, int) {
	s.t.Helper()
	p := start(s.t, strings.Join(args, " "), config, args...)
	<-p.done
	s.silent(p)
	return strings.Join(p.log(), "\n"), p.cmd.ProcessState.ExitCode()
}

// silent checks that a process has told no password.
func (s *secured) silent(p *proc) {
	s.t.Helper()
	for _, line := range p.log() {
		if strings.Contains(line, kafkaPassword) || strings.Contains(line, clickhousePassword) {
			s.t.Errorf("%s tells a password: %s", p.name, line)
		}
	}
}

// lockedClickHouse is the engine behind TLS, a user and a password, answering as a real server does.
func (w *world) lockedClickHouse(pki kafkatest.PKI) *httptest.Server {
	w.t.Helper()
	certFile, keyFile, err := pki.Issue("clickhouse", time.Hour, "127.0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	engine, err := url.Parse(w.clickhouse)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(engine)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.String(), clickhousePassword) {
			w.t.Error("the password is in the URL, where proxies write it down")
		}
		if r.Header.Get("X-ClickHouse-User") != "picket" || r.Header.Get("X-ClickHouse-Key") != clickhousePassword {
			rw.Header().Set("X-ClickHouse-Exception-Code", "516")
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprint(rw, "Code: 516. DB::Exception: picket: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)\n")
			return
		}
		r.Header.Del("X-ClickHouse-User")
		r.Header.Del("X-ClickHouse-Key")
		r.Header.Del("X-ClickHouse-SSL-Certificate-Auth")
		proxy.ServeHTTP(rw, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}
