package role_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"picket/cmd/internal/role"
)

// descriptions are those of every metric that is registered.
type descriptions struct {
	prometheus.Registerer
	all []string
}

func (d *descriptions) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		close(ch)
		for desc := range ch {
			d.all = append(d.all, desc.String())
		}
	}
}

// A HELP that says "by class." must be of a metric with the label class.
func TestHelpNamesLabels(t *testing.T) {
	d := &descriptions{}
	role.NewMetrics(d)
	said := 0
	for _, desc := range d.all {
		by := regexp.MustCompile(`by ([a-z]+)(?: and ([a-z]+))?[.:]`).FindStringSubmatch(desc)
		_, list, ok := strings.Cut(desc, "variableLabels: {")
		if !ok {
			t.Fatalf("no labels in %s", desc)
		}
		labels := strings.Split(strings.TrimRight(list, "}"), ",")
		for _, name := range slices.DeleteFunc(by, func(s string) bool { return s == "" || strings.HasPrefix(s, "by ") }) {
			if said++; !slices.Contains(labels, name) {
				t.Errorf("there is no label %s: %s", name, desc)
			}
		}
	}
	if said < 4 {
		t.Errorf("%d labels are named by the %d helps: the expression does not see them", said, len(d.all))
	}
}
