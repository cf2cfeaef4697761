package kafkatest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	kgo "github.com/segmentio/kafka-go"
)

// Right is one that deploy/kafka/acls.sh grants, or that the node's authorizer was asked for.
type Right struct {
	Operation string // as ACLs name it, in lower case: "describeconfigs"
	Resource  string // "topic:mcp.events"; of grants also "group:picket.*"
}

// covers reports whether a grant is what made the authorizer allow something.
func (r Right) covers(asked Right) bool {
	prefix, ok := strings.CutSuffix(r.Resource, "*")
	return r.Operation == asked.Operation && (r.Resource == asked.Resource || ok && strings.HasPrefix(asked.Resource, prefix))
}

// Grant gives a user what deploy/kafka/acls.sh grants for a purpose, word for word. What it returns lists the rights.
func (n Node) Grant(t testing.TB, purpose, user string) []Right {
	t.Helper()
	cmd := exec.Command(filepath.Join(filepath.Dir(script()), "../kafka/acls.sh"), purpose, "User:"+user)
	cmd.Env = append(os.Environ(), "KAFKA_ACLS=echo")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	var rights []Right
	var acls []kgo.ACLEntry
	for line := range strings.Lines(string(out)) {
		args := strings.Fields(line)
		e := kgo.ACLEntry{Host: "*", PermissionType: kgo.ACLPermissionTypeAllow, ResourcePatternType: kgo.PatternTypeLiteral}
		var ops []string
		what, all := "", ""
		for i := 0; i < len(args); i++ {
			if args[i] == "--add" {
				continue
			}
			value := args[i+1]
			switch args[i] {
			case "--allow-principal":
				e.Principal = value
			case "--operation":
				ops = append(ops, value)
			case "--resource-pattern-type":
				all = "*"
				err = e.ResourcePatternType.UnmarshalText([]byte(value))
			case "--topic", "--group":
				what, e.ResourceName = args[i][2:], value
				err = e.ResourceType.UnmarshalText([]byte(what))
			default:
				t.Fatalf("acls.sh passes %q", args[i])
			}
			if err != nil {
				t.Fatal(err)
			}
			i++
		}
		for _, op := range ops {
			if err := e.Operation.UnmarshalText([]byte(op)); err != nil {
				t.Fatal(err)
			}
			acls = append(acls, e)
			rights = append(rights, Right{strings.ToLower(op), what + ":" + e.ResourceName + all})
		}
	}
	res, err := (&kgo.Client{Addr: kgo.TCP(n.Plain)}).CreateACLs(t.Context(), &kgo.CreateACLsRequest{ACLs: acls})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range res.Errors {
		if err != nil {
			t.Fatal(err)
		}
	}
	return rights
}

var decided = regexp.MustCompile(`Principal = User:(\S+) is (Allowed|Denied) operation = (\S+) from host = \S+ on resource = (\w+):LITERAL:(\S+) for request = (\w+)`)

// Decided reads the authorizer's log: what a user was denied, and which of these rights nothing was allowed by.
func (n Node) Decided(t testing.TB, user string, granted []Right) (denied, unused []Right) {
	t.Helper()
	f, err := os.Open(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	used := map[Right]bool{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		m := decided.FindStringSubmatch(s.Text())
		if m == nil || m[1] != user {
			continue
		}
		asked := Right{strings.ToLower(strings.ReplaceAll(m[3], "_", "")), strings.ToLower(m[4]) + ":" + m[5]}
		if m[2] == "Denied" {
			denied = append(denied, asked)
			continue
		}
		for _, r := range granted {
			used[r] = used[r] || r.covers(asked)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	for _, r := range granted {
		if !used[r] {
			unused = append(unused, r)
		}
	}
	return denied, unused
}
