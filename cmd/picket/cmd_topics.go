package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
	"picket/ingest/kafka"
)

func newTopicsCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "topics",
		Short:   "Make and verify the Kafka topics",
		GroupID: groupSetup,
		Example: "  picket topics create\n  picket topics verify",
		Long: `Picket's promises rest on how its topics are set up: the broker's append time as the clock, short
retention where raw values are, and numbers of partitions that never change, since groups are dealt by them.`,
	}
	cmd.AddCommand(newTopicsCreateCmd(e), newTopicsVerifyCmd(e))
	return cmd
}

// withTopics calls fn with the configured cluster.
func (e *env) withTopics(cmd *cobra.Command, fn func(*kafka.Topics, []kafka.TopicSpec) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if err := needBrokers(cfg); err != nil {
		return err
	}
	t, err := kafka.NewTopics(cmd.Context(), app.KafkaConfig(cfg))
	if err != nil {
		return classify(err)
	}
	defer t.Close()
	return classify(fn(t, app.TopicSpecs(cfg)))
}

func newTopicsCreateCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "create",
		Short:   "Make the topics that are missing, and record their partitions",
		Args:    cobra.NoArgs,
		Example: "  picket topics create --config picket.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withTopics(cmd, func(t *kafka.Topics, specs []kafka.TopicSpec) error {
				made, err := t.Create(cmd.Context(), specs)
				if err != nil {
					return err
				}
				if len(made) == 0 {
					fmt.Fprintln(e.stdout, "all topics are there already")
				} else {
					fmt.Fprintf(e.stdout, "made %s\n", strings.Join(made, ", "))
				}
				return e.verifyTopics(cmd, t, specs)
			})
		},
	}
}

func newTopicsVerifyCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "verify",
		Short:   "Check that the topics keep the promises",
		Args:    cobra.NoArgs,
		Example: "  picket topics verify --config picket.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withTopics(cmd, func(t *kafka.Topics, specs []kafka.TopicSpec) error { return e.verifyTopics(cmd, t, specs) })
		},
	}
}

func (e *env) verifyTopics(cmd *cobra.Command, t *kafka.Topics, specs []kafka.TopicSpec) error {
	warned := 0
	err := app.CheckTopics(cmd.Context(), t, specs, false, func(p kafka.Problem) {
		warned++
		fmt.Fprintf(e.stderr, "warning: %s: %s\n", p.Topic, p.Text)
	})
	if err == nil { // one more holds the numbers of partitions
		fmt.Fprintf(e.stdout, "%s verified, %s\n", count(len(specs)+1, "topic"), count(warned, "warning"))
	}
	return err
}
