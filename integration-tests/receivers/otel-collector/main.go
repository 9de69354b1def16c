// An OpenTelemetry Collector. It takes metrics by OTLP and writes each request to stdout, as one line
// of OTLP's JSON. It refuses requests whose header x-api-key is not the variable API_KEY.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"slices"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

type stdout struct {
	component.StartFunc
	component.ShutdownFunc
	consumer.Metrics
}

func write(ctx context.Context, metrics pmetric.Metrics) error {
	keys := client.FromContext(ctx).Metadata.Get("x-api-key")
	if !slices.Equal(keys, []string{os.Getenv("API_KEY")}) {
		return errors.New("another API key")
	}
	line, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(metrics)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	return err
}

func newStdout(context.Context, exporter.Settings, component.Config) (exporter.Metrics, error) {
	metrics, err := consumer.NewMetrics(write)
	return stdout{Metrics: metrics}, err
}

func factories() (all otelcol.Factories, err error) {
	all.Telemetry = otelconftelemetry.NewFactory()
	all.Receivers = map[component.Type]receiver.Factory{}
	all.Exporters = map[component.Type]exporter.Factory{}
	otlp := otlpreceiver.NewFactory()
	all.Receivers[otlp.Type()] = otlp
	config := func() component.Config { return &struct{}{} }
	write := exporter.WithMetrics(newStdout, component.StabilityLevelStable)
	stdout := exporter.NewFactory(component.MustNewType("stdout"), config, write)
	all.Exporters[stdout.Type()] = stdout
	return all, nil
}

func main() {
	resolver := confmap.ResolverSettings{
		ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
		DefaultScheme:     "file",
	}
	settings := otelcol.CollectorSettings{
		BuildInfo:              component.BuildInfo{Command: "oom-witness-otelcol"},
		Factories:              factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: resolver},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}
