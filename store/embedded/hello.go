package embedded

import (
	"strconv"
	"strings"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// helloQuery is what clickhouse-go asks first, to learn which revision of the Native
// format the following answers have.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// hello answers that query itself: encoded for the revision the client offers, as a
// server would, and saying revision 0, which is what libchdb's Native output is. Without
// it the client would read every later answer wrongly.
func (w *request) hello(out *response, e *engine) (bool, error) {
	offered, err := strconv.ParseUint(w.protocol, 10, 32)
	if err != nil || offered == 0 || strings.TrimSpace(w.sql) != helloQuery || w.format != "Native" {
		return false, nil
	}
	block := proto.NewBlock()
	for _, c := range [][2]string{{"displayName()", "String"}, {"version()", "String"}, {"revision()", "UInt32"}, {"timezone()", "String"}} {
		if err := block.AddColumn(c[0], column.Type(c[1])); err != nil {
			return true, err
		}
	}
	if err := block.Append("picket-embedded", e.version, uint32(0), e.timezone); err != nil {
		return true, err
	}
	var buf chproto.Buffer
	if err := block.Encode(&buf, offered); err != nil {
		return true, err
	}
	out.w.Header().Set("X-ClickHouse-Format", "Native")
	out.w.Header().Set("Content-Type", contentType("Native"))
	_, err = out.Write(buf.Buf)
	return true, err
}
