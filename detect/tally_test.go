package detect

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A tally and a table are maps, whatever comes and goes.
func TestTallyAndTableAgreeWithMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var values tally
		var groups table
		want := map[uint64]int32{}
		held := map[byte]uint32{}
		var seen seenWindows
		heard := map[windowKey]bool{}
		for range rapid.IntRange(1, 300).Draw(t, "operations") {
			v := rapid.Uint64Range(0, 40).Draw(t, "value") << rapid.SampledFrom([]int{0, 7}).Draw(t, "shift")
			if rapid.Bool().Draw(t, "add") || want[v] == 0 {
				values.add(v)
				want[v]++
			} else {
				values.drop(v)
				if want[v]--; want[v] == 0 {
					delete(want, v)
				}
			}
			key := windowKey{group: [16]byte{rapid.Byte().Draw(t, "group") & 0x8f}, rule: 1}
			if rapid.IntRange(0, 50).Draw(t, "batch") == 0 {
				seen.clear()
				clear(heard)
			}
			if dup := seen.add(key); dup != heard[key] {
				t.Fatalf("%v was seen %t, want %t", key, dup, heard[key])
			}
			heard[key] = true
			if id := groups.find(key); id != held[key.group[0]] || id != 0 && groups.at(id).key() != key {
				t.Fatalf("%v: got %d, want %d", key, id, held[key.group[0]])
			} else if id == 0 {
				held[key.group[0]] = groups.put(key)
			} else if rapid.Bool().Draw(t, "remove") {
				groups.remove(key)
				delete(held, key.group[0])
			}
		}
		if values.n != len(want) || groups.n != len(held) {
			t.Fatalf("%d values and %d groups, want %d and %d", values.n, groups.n, len(want), len(held))
		}
	})
}

func TestGroupsKeepTheirNames(t *testing.T) {
	w := NewWindows(loadText(t, ruleLines(windowRules)), plainHasher{}, 0, WindowOptions{})
	values := []GroupValue{{Field: "net.ip", Value: "abc", Key: "k1"}, {Field: "labels.team", Value: "blue"}, {Field: "http.status", Value: "200"}}
	for i := range maxTenants + 2 { // beyond the bound names are kept with the group
		tenant := fmt.Sprint("tenant", i)
		for range 2 {
			gotTenant, got := w.unpackGroup(w.packGroup(tenant, values))
			if gotTenant != tenant || !slices.Equal(got, values) {
				t.Fatalf("%q %v, want %q %v", gotTenant, got, tenant, values)
			}
		}
	}
	if tenant, got := w.unpackGroup(w.packGroup("", nil)); tenant != "" || got != nil {
		t.Errorf("%q %v", tenant, got)
	}
}
