// Ends an invocation as its payload asks: {"behavior": "kill"}.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Behavior string   `json:"behavior"`
	Lines    []string `json:"lines"`
	MB       int      `json:"mb"`
	Code     int      `json:"code"`
}

func handle(ctx context.Context, asked event) (map[string]string, error) {
	id := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	}
	for _, line := range asked.Lines {
		fmt.Println(strings.ReplaceAll(line, "{id}", id))
	}
	switch asked.Behavior {
	case "kill", "grow":
		touch(500)
	case "allocate": // one request that no address space holds: the runtime ends the program
		size := 1 << 46
		held := make([]byte, size)
		fmt.Println(len(held))
	case "panic":
		panic("asked for")
	case "handled": // Go cannot catch its own; a library's error says it instead
		err := fmt.Errorf("mmap cache: %w", syscall.ENOMEM)
		log.Printf("served without a cache: %v", err)
	case "near-limit":
		touch(asked.MB)
	case "crash":
		os.Exit(max(asked.Code, 1))
	case "abort":
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		select {}
	case "timeout":
		time.Sleep(time.Hour)
	case "error":
		return nil, errors.New("asked for")
	}
	return map[string]string{"status": "ok"}, nil
}

// touch makes a slice of this many MiB and writes to each of its pages.
func touch(mb int) {
	held := make([]byte, mb<<20)
	for at := 0; at < len(held); at += 4096 {
		held[at] = 1
	}
	fmt.Println("touched", len(held)>>20, "MiB")
}

func main() {
	what := os.Getenv("SANDBOX_INIT")
	if strings.HasSuffix(what, "-once") {
		mark := filepath.Join(os.Getenv("TMPDIR"), "died-once")
		if _, err := os.Stat(mark); err == nil {
			what = ""
		}
		_ = os.WriteFile(mark, nil, 0o600)
	}
	if strings.HasPrefix(what, "kill") {
		touch(500)
	}
	lambda.Start(handle)
}
