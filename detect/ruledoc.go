package detect

import (
	"time"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// placed is a value with the node that it came from, for later checks.
type placed[T any] struct {
	v T
	n *yaml.Node
}

func (p *placed[T]) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	before := d.Len()
	d.Decode(n, &p.v)
	if d.Len() == before {
		p.n = n // nil tells later checks that this was complained about
	}
}

// ruleDoc is one YAML document as written.
type ruleDoc struct {
	Schema         placed[string]     `yaml:"schema,required"`
	ID             placed[string]     `yaml:"id,required"`
	Name           placed[string]     `yaml:"name,required"`
	Revision       int                `yaml:"revision"`
	Title          placed[string]     `yaml:"title,required"`
	Status         placed[string]     `yaml:"status"`
	Mode           placed[string]     `yaml:"mode"`
	Severity       placed[string]     `yaml:"severity,required"`
	Confidence     placed[int]        `yaml:"confidence"`
	Risk           placed[int]        `yaml:"risk"`
	Tags           []placed[string]   `yaml:"tags"`
	Description    string             `yaml:"description"`
	Runbook        string             `yaml:"runbook"`
	References     []placed[string]   `yaml:"references"`
	FalsePositives []string           `yaml:"falsepositives"`
	Lists          map[string]listDoc `yaml:"lists"`

	Match      *yaml.Node     `yaml:"match"`
	Where      placed[string] `yaml:"where"`
	GroupBy    *groupDoc      `yaml:"group_by"`
	Suppress   suppressDoc    `yaml:"suppress"`
	Exceptions []exceptionDoc `yaml:"exceptions"`
	Alert      alertDoc       `yaml:"alert"`

	Threshold *thresholdDoc `yaml:"threshold"`
	Distinct  *distinctDoc  `yaml:"distinct"`
	Sum       *sumDoc       `yaml:"sum"`
	Score     *scoreDoc     `yaml:"score"`

	// Known, and refused with the reason.
	Sequence   *yaml.Node `yaml:"sequence"`
	Ratio      *yaml.Node `yaml:"ratio"`
	Absence    *yaml.Node `yaml:"absence"`
	All        *yaml.Node `yaml:"all"`
	Any        *yaml.Node `yaml:"any"`
	From       *yaml.Node `yaml:"from"`
	Until      *yaml.Node `yaml:"until"`
	Resolution *yaml.Node `yaml:"resolution"`
	NewTerms   *yaml.Node `yaml:"new_terms"`
	Changed    *yaml.Node `yaml:"changed"`
	Baseline   *yaml.Node `yaml:"baseline"`

	Tests []testDoc `yaml:"tests"`
}

// notYet says of each key that the format has and this version does not evaluate why.
var notYet = map[string]string{
	"sequence":   "sequences are not available in this version",
	"ratio":      "ratios are not available in this version",
	"absence":    "absence is not available in this version",
	"all":        "several detectors in one rule are not available in this version",
	"any":        "several detectors in one rule are not available in this version",
	"from":       "steps from another rule are not available in this version",
	"until":      "sequences, and until with them, are not available in this version",
	"resolution": "resolution is not available in this version: windows are exact",
	"new_terms":  "history rules (new_terms) read the event store and are not available in this version",
	"changed":    "history rules (changed) read the event store and are not available in this version",
	"baseline":   "baselines read the event store and are not available in this version",
}

type suppressDoc struct {
	For placed[time.Duration] `yaml:"for"`
}

type alertDoc struct {
	Title   placed[string]   `yaml:"title"`
	Context []placed[string] `yaml:"context"`
}

type exceptionDoc struct {
	Name    string            `yaml:"name"`
	Match   *yaml.Node        `yaml:"match,required"`
	Reason  placed[string]    `yaml:"reason,required"`
	Expires placed[time.Time] `yaml:"expires,required"`
}

type limitDoc struct {
	Gte *placed[float64] `yaml:"gte"`
	Gt  *placed[float64] `yaml:"gt"`
}

// bound is a limit with the node to complain at.
type bound struct {
	limitDoc
	n *yaml.Node
}

func (b *bound) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	b.n = n
	if x, ok := diag.Float(n); ok {
		d.Report(n, "expected a comparison", "write {gte: "+n.Value+"}")
		b.Gte = &placed[float64]{x, n}
		return
	}
	d.Decode(n, &b.limitDoc)
}

type windowDoc struct {
	Window  placed[time.Duration] `yaml:"window,required"`
	GroupBy *groupDoc             `yaml:"group_by"`
}

type thresholdDoc struct {
	Count  bound     `yaml:"count,required"`
	Window windowDoc `yaml:",inline"`
}

type distinctDoc struct {
	Field  placed[string] `yaml:"field,required"`
	Count  bound          `yaml:"count,required"`
	Window windowDoc      `yaml:",inline"`
}

type sumDoc struct {
	Field  placed[string] `yaml:"field,required"`
	Limit  limitDoc       `yaml:",inline"`
	Window windowDoc      `yaml:",inline"`
}

type scoreDoc struct {
	Limit limitDoc    `yaml:",inline"`
	Of    []scorePart `yaml:"of,required"`
}

type scorePart struct {
	Name  placed[string]  `yaml:"name,required"`
	Add   placed[float64] `yaml:"add,required"`
	Match *yaml.Node      `yaml:"match,required"`
}

// listDoc is the values of a list.
type listDoc struct{ nodes []*yaml.Node }

func (l *listDoc) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.Errorf(n, "expected a list of values, found %s", diag.Describe(n))
		return
	}
	for _, v := range n.Content {
		v = diag.Resolve(v)
		if v.Kind != yaml.ScalarNode || v.Value == "" {
			d.Errorf(v, "expected a value, found %s", diag.Describe(v))
			continue
		}
		l.nodes = append(l.nodes, v)
	}
}

// groupDoc is group_by: names of fields, or {coalesce: [names]}.
type groupDoc struct {
	terms []GroupTerm
	n     *yaml.Node
}

func (g *groupDoc) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	g.n = n
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		hint := ""
		if n.Kind == yaml.ScalarNode && n.Value != "" {
			hint = "write [" + n.Value + "]"
		}
		d.Report(n, "expected a list of fields, found "+diag.Describe(n), hint)
		return
	}
	for _, item := range n.Content {
		item = diag.Resolve(item)
		var names []*yaml.Node
		if item.Kind == yaml.ScalarNode {
			names = []*yaml.Node{item}
		} else {
			var c struct {
				Coalesce []*yaml.Node `yaml:"coalesce,required"`
			}
			d.Decode(item, &c)
			names = c.Coalesce
		}
		if len(names) > 0 {
			g.terms = append(g.terms, groupTerm(d, names))
		}
	}
}

func groupTerm(d *diag.Ctx, names []*yaml.Node) GroupTerm {
	var t GroupTerm
	for _, n := range names {
		s, msg, hint := parseSubject(n.Value)
		switch {
		case msg != "":
			d.Report(n, msg, hint)
		case t.Label != "":
			d.Report(n, "a label must be the last of a coalesce", "")
		case s.label != "":
			t.Label = s.label
		case s.field.Info().Privacy == Dropped:
			d.Report(n, s.field.String()+" is dropped after matching: it cannot be grouped by", "io.args_digest stands for the arguments")
		default:
			t.Fields = append(t.Fields, s.field)
		}
	}
	return t
}
