package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
)

func newEmbeddedCmd(e *env) *cobra.Command {
	var kafkaAddr, clickhouseAddr, only string
	cmd := &cobra.Command{
		Use:     "embedded",
		Short:   "Run only the embedded broker and ClickHouse engine",
		GroupID: groupRun,
		Args:    cobra.NoArgs,
		Long: `Embedded runs a Kafka-protocol broker and the ClickHouse engine on loopback until it is told to stop, with
their data in data_dir. Any Kafka client works against the one; curl, clickhouse-go, Grafana and JDBC work
against the other's HTTP interface. 'picket run' starts both by itself: this is for trying things, and for
running the pipeline in a process of its own.`,
		Example: `  picket embedded --kafka 127.0.0.1:9092 --clickhouse 127.0.0.1:8123
  curl 'http://127.0.0.1:8123/?query=SELECT+version()'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			cfg.Kafka.Brokers, cfg.ClickHouse.URL = nil, ""
			switch only { // what has an address already is not started
			case "":
			case "kafka":
				cfg.ClickHouse.URL = "not started"
			case "clickhouse":
				cfg.Kafka.Brokers = []string{"not started"}
			default:
				return usagef("--only %s: use kafka or clickhouse", only)
			}
			cfg.Kafka.Embedded.Listen, cfg.ClickHouse.Embedded.Listen = kafkaAddr, clickhouseAddr
			s, err := app.StartServers(cmd.Context(), cfg, e.logger(cfg), e.progress())
			if err != nil {
				return classify(inUse(err, map[string]string{"kafka.embedded.listen": "--kafka", "clickhouse.embedded.listen": "--clickhouse"}))
			}
			fmt.Fprintf(e.stdout, "kafka:      %s\nclickhouse: %s\n", cfg.Kafka.Brokers[0], cfg.ClickHouse.URL)
			<-cmd.Context().Done()
			return s.Stop(time.Now())
		},
	}
	cmd.Flags().StringVar(&kafkaAddr, "kafka", "127.0.0.1:9092", "`address` of the broker; port 0 takes a free one")
	cmd.Flags().StringVar(&clickhouseAddr, "clickhouse", "127.0.0.1:8123", "`address` of the engine; port 0 takes a free one")
	cmd.Flags().StringVar(&only, "only", "", "start only one `server`: kafka or clickhouse")
	completeFlag(cmd, "only", cobra.FixedCompletions([]string{"kafka", "clickhouse"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
