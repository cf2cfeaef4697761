package alerting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"picket/detect/secret"
)

// sendTimeout bounds one request; a Notifier's context may end it earlier.
const sendTimeout = 10 * time.Second

func httpClient(c *http.Client) *http.Client {
	if c != nil {
		return c
	}
	return NewClient("")
}

// NewClient makes what destinations send with. Agent names the program to them; "" is "picket".
func NewClient(agent string) *http.Client {
	if agent == "" {
		agent = "picket"
	}
	// No redirects: a request with a token or a signature goes where it was told to go, or nowhere.
	return &http.Client{
		Transport:     named{agent},
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// named says who sends.
type named struct{ agent string }

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", n.agent)
	return http.DefaultTransport.RoundTrip(r)
}

type answer struct {
	code  int
	after time.Duration
	body  string
}

// post sends JSON and returns the start of the answer. Its errors are RetryErrors without the URL.
func post(ctx context.Context, c *http.Client, to secret.Value, body []byte, header http.Header) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.Reveal(), bytes.NewReader(body))
	if err != nil {
		return answer{}, &SetupError{Problem: "the URL cannot be used", Fix: "check that it is complete and starts with https://"}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, reach(err, to)
	}
	defer func() { _ = resp.Body.Close() }()
	// A status without its body is still an answer.
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	return answer{code: resp.StatusCode, after: retryAfter(resp.Header), body: string(raw)}, nil
}

// reach turns a failure to get an answer into a RetryError, and takes the URL
// and the secrets out of its text.
func reach(err error, secrets ...secret.Value) *RetryError {
	// What was dialled and refused was not sent; anything later may have arrived.
	var op *net.OpError
	sent := !errors.As(err, &op) || op.Op != "dial"
	var dns *net.DNSError
	if errors.As(err, &dns) {
		sent = false
	}
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	msg := err.Error()
	for _, s := range secrets {
		if !s.IsSet() {
			continue
		}
		if strings.Contains(msg, s.Reveal()) {
			err = errors.New(strings.ReplaceAll(msg, s.Reveal(), s.String()))
		}
	}
	return &RetryError{Unsure: sent, Err: err}
}

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

// oneLine makes what a service answered fit for an error.
func oneLine(s string, secrets ...secret.Value) string {
	for _, x := range secrets {
		if x.IsSet() {
			s = strings.ReplaceAll(s, x.Reveal(), x.String())
		}
	}
	return brief(s, 300)
}

// pace leaves at least every between the end of one call and the start of the
// next. One goroutine owns it.
type pace struct {
	every time.Duration
	last  time.Time
}

func (p *pace) wait(ctx context.Context) error {
	d := p.every - time.Since(p.last)
	if p.last.IsZero() || d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pace) done() { p.last = time.Now() }
