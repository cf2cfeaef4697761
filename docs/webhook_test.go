package docs_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"picket/alerting"
	"picket/detect"
	"picket/detect/secret"
)

// TestSignatureOfThePage runs the receiver's check as docs/operations.md shows it, against a
// webhook that was really sent.
func TestSignatureOfThePage(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs python3: ", err)
	}
	var code string
	for _, block := range fences(page(t, "operations.md"), "python") {
		if strings.Contains(block, "hmac.new") {
			code = block
		}
	}
	if code == "" {
		t.Fatal("docs/operations.md has no check of the signature")
	}
	var signature string
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		signature = r.Header.Get("Picket-Signature")
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	const key = "a key of the receiver"
	hook, err := alerting.NewWebhook(alerting.WebhookOptions{URL: secret.New(server.URL), Key: secret.New(key)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hook.Send(t.Context(), alerting.Incident{Key: "MY-01/g", Alert: detect.Alert{ID: "a", Title: "Zürich <&>"}}); err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprint(time.Now().Add(-10 * time.Minute).Unix())
	for _, c := range []struct {
		what, key, signature string
		body                 []byte
		good                 string
	}{
		{"as sent", key, signature, body, "True"},
		{"another body", key, signature, bytes.Replace(body, []byte("MY-01"), []byte("MY-02"), 1), "False"},
		{"another key", key + "\n", signature, body, "False"},
		{"no signature", key, "", body, "False"},
		{"too old", key, "t=" + old + ",v1=" + alerting.Sign(secret.New(key), old, body), body, "False"},
	} {
		cmd := exec.CommandContext(t.Context(), python, "-c", code+
			"import sys\nprint(signed(sys.argv[2], sys.stdin.buffer.read(), sys.argv[1].encode()))\n", c.key, c.signature)
		cmd.Stdin = bytes.NewReader(c.body)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != c.good {
			t.Errorf("%s: %q, want %s: %v\n%s", c.what, out, c.good, err, stderr.String())
		}
	}
}
