package detect

import (
	"encoding/binary"
	"strings"
)

// maxTenants bounds how many names of tenants are kept once for all groups, and maxNames
// how many others.
const (
	maxTenants = 1000
	maxNames   = 4096
	maxName    = 64 // bytes of one
)

// names are texts that are a number in what is packed, as far as there is room.
type names struct {
	numbers map[string]uint64 // from one
	texts   []string
	most    int
}

func newNames(most int) names { return names{numbers: map[string]uint64{}, most: most} }

func (n *names) append(b []byte, s string) []byte {
	k := n.numbers[s]
	if k == 0 && len(n.texts) < n.most && len(s) <= maxName {
		s = strings.Clone(s)
		n.texts = append(n.texts, s)
		k = uint64(len(n.texts))
		n.numbers[s] = k
	}
	if b = binary.AppendUvarint(b, k); k == 0 {
		b = appendString(b, s)
	}
	return b
}

func (n *names) read(r *wireReader) string {
	if k := r.uvarint(); k > 0 {
		return n.texts[k-1]
	}
	return r.string()
}

// name is the packed name of a group, which it keeps.
func (w *Windows) name(g *window) string {
	m := g.activate()
	switch {
	case m.name != "":
	case w.hand.signal != nil:
		m.name = w.packGroup(w.hand.signal.Tenant, w.hand.signal.Values)
	default:
		m.name = w.hand.packed
	}
	return m.name
}

// packGroup writes tenant and group values into one string, which most groups never need
// again. Tenants are few: those that are known are a number in it.
func (w *Windows) packGroup(tenant string, values []GroupValue) string {
	b := w.tenants.append(w.scratch[:0], tenant)
	for _, v := range values {
		if f, ok := FieldByName(v.Field); ok {
			b = append(b, byte(f))
		} else {
			b = appendString(append(b, byte(NumFields)), v.Field)
		}
		b = appendString(appendString(b, v.Value), v.Key)
	}
	w.scratch = b
	return string(b)
}

func (w *Windows) unpackGroup(s string) (tenant string, values []GroupValue) {
	r := wireReader{b: []byte(s)}
	tenant = w.tenants.read(&r)
	for len(r.b) > 0 {
		var v GroupValue
		if f := Field(r.byte()); f < NumFields {
			v.Field = f.String()
		} else {
			v.Field = r.string()
		}
		v.Value, v.Key = r.string(), r.string()
		values = append(values, v)
	}
	return tenant, values
}
