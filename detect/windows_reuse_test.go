package detect

import (
	"math/rand"
	"testing"
	"time"
)

// A window that went leaves its number to another, and deadlines behind it that are not the
// other's: where the watermark moves far at once, they come before what the other waits for.
func TestADeadlineIsOfItsOwnWindow(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: XA-01, name: x.a, match: {type: authentication}, threshold: {count: {gte: 2}, window: 60s, group_by: [net.ip]}, suppress: {for: 30s}}
{id: XC-01, name: x.c, sequence: {window: 60s, group_by: [net.ip], steps: [{name: a, match: {outcome: failure}}, {name: b, match: {outcome: denied}}], until: {outcome: success}}, suppress: {for: 1m}}
{id: XC-02, name: x.e, sequence: {window: 60s, group_by: [net.ip], steps: [{name: a, match: {type: authentication}}, {name: b, match: {outcome: denied}}], until: {outcome: success}}, suppress: {for: 1m}}
{id: XD-01, name: x.d, sequence: {window: 2m, group_by: [net.ip], steps: [{name: one, from: XC-01}, {name: two, from: XC-02}], until: {outcome: success}}, suppress: {for: 1m}}
`))
	alerts := func(step time.Duration) (n int) {
		f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
		const at = 10 * time.Minute
		f.point(rs.ByID("XA-01"), 1, at-60*time.Second, 0, 0)
		f.point(rs.ByID("XA-01"), 1, at-59*time.Second, 0, 0)
		f.point(rs.ByID("XC-01"), 2, at-10*time.Second, 0, 0)
		f.point(rs.ByID("XC-01"), 2, at, 1, 0)
		f.point(rs.ByID("XC-02"), 2, at+1*time.Second, 0, 0)
		f.point(rs.ByID("XC-02"), 2, at+5*time.Second, 1, 0)
		for now := time.Duration(0); now < 2*time.Hour; now += step {
			for _, a := range f.w.Settle(nil, TestStart.Add(now+step)) {
				if a.Rule.ID == "XD-01" {
					n++
				}
			}
		}
		return n
	}
	if slow, fast := alerts(time.Second), alerts(2*time.Hour); slow != 2 || fast != slow {
		t.Errorf("%d updates of the alert when the watermark goes second by second, %d when it goes at once", slow, fast)
	}
}

// What is written as the bytes of a UUID comes back as the text that it was, and whatever else an
// attacker makes of 36 digits and dashes is written as it is.
func TestOnlyUUIDsAreWrittenAsBytes(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	texts := []string{
		"01234567-0123-0123-0123-01-234567890", "0b-cd-ef-0123-0123-0123-0123456789ab", "01234567-0123-0123-0123-01-2345-6789", "01234567-0123-0123-0123-0123456789a-",
		"01234567-0123-0123-0123-0123456789AB", "0123456--0123-0123-0123-0123456789ab",
	}
	for range 100_000 {
		b := []byte("01234567-89ab-cdef-0123-456789abcdef")
		for range random.Intn(4) {
			b[random.Intn(len(b))] = "0123456789abcdef----A"[random.Intn(21)]
		}
		texts = append(texts, string(b))
	}
	bytes := 0
	for _, text := range texts {
		b, ok := appendUUID(nil, []byte(text))
		if !ok {
			continue
		}
		bytes++
		if back := string(appendLettersOfUUID(nil, b)); back != text {
			t.Fatalf("%q came back as %q", text, back)
		}
	}
	if bytes < 10_000 || bytes == len(texts) {
		t.Errorf("%d of %d are UUIDs", bytes, len(texts))
	}
}
