package detect

import (
	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

type (
	whereVM struct{}
	where   struct{}
)

func (w *where) eval(m *Matcher, ev *Event) bool { return false }
func compileWhere(d *diag.Ctx, n *yaml.Node, text string) *where {
	d.Errorf(n, "where is not available in this version")
	return nil
}
