// The client as a program: `client -server ADDRESS -service-config FILE [-token-file FILE] COMMAND ...`.
//
// Prints one JSON object a line. A call that fails is printed too, as `{"error": {...}}`, and the exit status is 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "finetuned.example/client/gen/finetuned/v1"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

type object map[string]any

func show(what object) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func showRun(run *v1.Run, err error) error {
	if err == nil {
		show(object{"name": run.GetName(), "uid": run.GetUid(), "state": run.GetState().String()})
	}
	return err
}

func showEvent(event *v1.RunEvent) {
	show(object{"seq": event.GetSeq(), "type": event.GetType().String()})
}

func create(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	name := flags.String("name", "", "")
	requestID := flags.String("request-id", "", "")
	model := flags.String("model", "finetuned/tiny-llama", "")
	trainData := flags.String("train-data", "", "")
	duration := flags.String("duration", "1ep", "")
	learningRate := flags.Float64("learning-rate", 1e-3, "")
	cpus := flags.Int("cpus", 1, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return showRun(service.Create(ctx, &v1.RunSpec{
		Model:            *model,
		TaskType:         v1.RunSpec_INSTRUCTION_FINETUNE,
		TrainDataPath:    *trainData,
		TrainingDuration: *duration,
		LearningRate:     learningRate,
		Compute:          &v1.Compute{Cpus: int32(*cpus)},
	}, *name, *requestID))
}

func get(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	return showRun(service.Get(ctx, flags.Arg(0)))
}

func quota(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	answer, err := service.Quota(ctx)
	if err == nil {
		show(object{"limit": answer.GetActiveLimit(), "usage": answer.GetActiveUsage(), "runs": answer.GetActiveRuns()})
	}
	return err
}

func runs(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	pageSize := flags.Int("page-size", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return service.Pages(ctx, int32(*pageSize), func(page []*v1.Run) {
		names := []string{}
		for _, run := range page {
			names = append(names, run.GetName())
		}
		show(object{"page": names})
	})
}

func cancel(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	results, err := service.Cancel(ctx, flags.Args())
	for _, result := range results {
		reason := ""
		for _, detail := range status.FromProto(result.GetStatus()).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				reason = info.GetReason()
			}
		}
		show(object{"name": result.GetName(), "code": code.Code(result.GetStatus().GetCode()).String(),
			"reason": reason, "outcome": result.GetOutcome().String()})
	}
	return err
}

// watch with -break-after leaves the stream after so many events, and begins another behind the last of them.
func watch(ctx context.Context, service *Client, flags *flag.FlagSet, args []string) error {
	after := flags.Int64("after", 0, "")
	breakAfter := flags.Int("break-after", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	name, seq, count := flags.Arg(0), *after, 0
	broken := func(failure *Failure) { show(object{"broken": failure}) }
	seen := func(event *v1.RunEvent) bool {
		seq = event.GetSeq()
		count++
		showEvent(event)
		return count != *breakAfter
	}
	err := service.Watch(ctx, name, seq, seen, broken)
	if err == nil && count == *breakAfter && *breakAfter > 0 {
		show(object{"left": seq})
		err = service.Watch(ctx, name, seq, seen, broken)
	}
	if err != nil {
		return err
	}
	return showRun(service.Get(ctx, name))
}

func run() error {
	server := flag.String("server", "", "")
	serviceConfig := flag.String("service-config", "", "")
	tokenFile := flag.String("token-file", "", "")
	deadline := flag.Float64("deadline", defaultDeadline.Seconds(), "")
	flag.Parse()
	token := ""
	if *tokenFile != "" {
		text, err := os.ReadFile(*tokenFile)
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(text))
	}
	commands := map[string]func(context.Context, *Client, *flag.FlagSet, []string) error{
		"create": create, "get": get, "quota": quota, "runs": runs, "cancel": cancel, "watch": watch}
	command, ok := commands[flag.Arg(0)]
	if !ok {
		return fmt.Errorf("there is no command %q", flag.Arg(0))
	}
	service, err := NewClient(*server, token, *serviceConfig, time.Duration(*deadline*float64(time.Second)))
	if err != nil {
		return err
	}
	defer service.Close()
	return command(context.Background(), service, flag.NewFlagSet(flag.Arg(0), flag.ContinueOnError), flag.Args()[1:])
}

func main() {
	err := run()
	var failure *Failure
	if errors.As(err, &failure) {
		show(object{"error": failure})
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(2)
	}
}
