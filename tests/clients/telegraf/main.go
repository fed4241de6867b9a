// Telegraf's own outputs with their buffers. Of standard input each number becomes a metric at that
// second, and any other line has all outputs write; then it says what still waits, and what went wrong.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/metric"
	_ "github.com/influxdata/telegraf/plugins/outputs/influxdb"
	_ "github.com/influxdata/telegraf/plugins/outputs/influxdb_v2"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	agent := config.NewConfig()
	must(agent.LoadConfig(os.Args[1]))
	for _, output := range agent.Outputs {
		must(output.Init())
		must(output.Connect())
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		number, wrong := strconv.ParseInt(lines.Text(), 10, 64)
		for _, output := range agent.Outputs {
			if wrong == nil {
				tags, fields := map[string]string{"host": "a"}, map[string]interface{}{"v": number}
				output.AddMetric(metric.New("m", tags, fields, time.Unix(1_700_000_000+number, 0)))
			} else {
				err := output.Write()
				fmt.Println(output.BufferLength(), err)
			}
		}
	}
}
