package detect

import (
	"testing"
	"time"
)

// BenchReport adds events per second of the clock, and of processor time since cpu.
func BenchReport(b *testing.B, cpu time.Duration) {
	used := CPUTime() - cpu
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
	b.ReportMetric(float64(b.N)/used.Seconds()/1e6, "Mevents/cpu-s")
}
