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

	Sequence   *sequenceDoc           `yaml:"sequence"`
	Ratio      *ratioDoc              `yaml:"ratio"`
	Absence    *absenceDoc            `yaml:"absence"`
	All        []partDoc              `yaml:"all"`
	Any        []partDoc              `yaml:"any"`
	Window     placed[time.Duration]  `yaml:"window"`     // of all and any
	Resolution *placed[time.Duration] `yaml:"resolution"` // of all and any

	// Known, and refused with the reason.
	NewTerms *yaml.Node `yaml:"new_terms"`
	Changed  *yaml.Node `yaml:"changed"`
	Baseline *yaml.Node `yaml:"baseline"`

	Tests []testDoc `yaml:"tests"`
}

// notYet says of each key that the format has and this version does not evaluate why.
var notYet = map[string]string{
	"new_terms": "history rules (new_terms) read the event store and are not available in this version",
	"changed":   "history rules (changed) read the event store and are not available in this version",
	"baseline":  "baselines read the event store and are not available in this version",
}

type suppressDoc struct {
	For placed[time.Duration] `yaml:"for"`
}

type alertDoc struct {
	Title   placed[string]   `yaml:"title"`
	Context []placed[string] `yaml:"context"`
}

type exceptionDoc struct {
	Name    placed[string]    `yaml:"name"`
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
	Window     placed[time.Duration]  `yaml:"window,required"`
	Resolution *placed[time.Duration] `yaml:"resolution"`
	GroupBy    *groupDoc              `yaml:"group_by"`
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

type sequenceDoc struct {
	Body   sequenceBody `yaml:",inline"`
	Window windowDoc    `yaml:",inline"`
}

type sequenceBody struct {
	Steps   []stepDoc     `yaml:"steps,required"`
	Ordered *placed[bool] `yaml:"ordered"`
	Until   *yaml.Node    `yaml:"until"`
}

type stepDoc struct {
	Name  placed[string]  `yaml:"name,required"`
	Match *yaml.Node      `yaml:"match"`
	From  *placed[string] `yaml:"from"`
	Count *bound          `yaml:"count"`
}

type ratioDoc struct {
	Body   ratioBody `yaml:",inline"`
	Window windowDoc `yaml:",inline"`
}

type ratioBody struct {
	Of    *yaml.Node `yaml:"of,required"`
	Limit limitDoc   `yaml:",inline"`
	Count *bound     `yaml:"count"`
	Total *bound     `yaml:"total"`
}

type absenceDoc struct {
	After  *yaml.Node `yaml:"after"`
	Window windowDoc  `yaml:",inline"`
}

// partDoc is one detector of all or any: the window and the group are the rule's.
type partDoc struct {
	n     *yaml.Node
	Match *yaml.Node `yaml:"match"`

	Threshold *struct {
		Count bound `yaml:"count,required"`
	} `yaml:"threshold"`
	Distinct *struct {
		Field placed[string] `yaml:"field,required"`
		Count bound          `yaml:"count,required"`
	} `yaml:"distinct"`
	Sum *struct {
		Field placed[string] `yaml:"field,required"`
		Limit limitDoc       `yaml:",inline"`
	} `yaml:"sum"`
	Sequence *sequenceBody `yaml:"sequence"`
	Ratio    *ratioBody    `yaml:"ratio"`
}

func (p *partDoc) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	type plain partDoc
	d.Decode(n, (*plain)(p))
	p.n = n
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
