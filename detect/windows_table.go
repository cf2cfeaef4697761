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

// table finds windows by group and rule. It is open-addressed: a million groups cost a
// pointer each, where a map would keep every key again.
type table struct {
	slots []*window
	n     int
}

func (k windowKey) slot(mask uint64) uint64 {
	// The group is a keyed hash: nobody can choose where it falls.
	return (binary.LittleEndian.Uint64(k.group[:]) + uint64(k.rule)*0x9e3779b97f4a7c15) & mask
}

func (t *table) get(k windowKey) *window {
	if t.n == 0 {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := k.slot(mask); t.slots[i] != nil; i = (i + 1) & mask {
		if g := t.slots[i]; g.group == k.group && g.rule.id == k.rule {
			return g
		}
	}
	return nil
}

// put adds a window that is not there.
func (t *table) put(g *window) {
	if t.n*4 >= len(t.slots)*3 {
		t.resize(max(64, 2*len(t.slots)))
	}
	t.place(g)
	t.n++
}

func (t *table) place(g *window) {
	mask := uint64(len(t.slots) - 1)
	i := g.key().slot(mask)
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = g
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]*window, n)
	for _, g := range old {
		if g != nil {
			t.place(g)
		}
	}
}

// remove closes the gap, so that no search ends early.
func (t *table) remove(g *window) {
	mask := uint64(len(t.slots) - 1)
	i := g.key().slot(mask)
	for t.slots[i] != g {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.slots[j] != nil; j = (j + 1) & mask {
		if home := t.slots[j].key().slot(mask); (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = nil
	t.n--
	if len(t.slots) > 1024 && t.n*8 < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
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
