package main

import (
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"time"

	v1 "finetuned.example/client/gen/finetuned/v1"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// Of every call but a stream, its retries included. The daemon is told, and gives up too.
	defaultDeadline = 20 * time.Second
	// While nothing happens a stream brings a bookmark at least every 10 s; one that is silent for this long is dead.
	silence = 30 * time.Second
	// How long a stream may bring nothing, over all tries to open it again, before the caller is told.
	patience   = 60 * time.Second
	maxBackoff = 5 * time.Second
)

// Failure is a call that failed, with what the daemon says about it in a form that a program can read.
type Failure struct {
	Code string `json:"code"`
	// Empty where the error is not the daemon's: a connection that broke, a deadline that is over.
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
	// Field and description each; of INVALID_ARGUMENT.
	Violations [][2]string `json:"violations"`
	// Subject and description each; of a quota that is used up.
	Quota [][2]string `json:"quota"`
	// Seconds to wait before the next try; absent where the daemon says nothing.
	RetryDelay *float64 `json:"retry_delay"`

	err error
}

func (f *Failure) Error() string { return f.err.Error() }

// Passes says whether a stream that ended like this is to be opened again: the daemon says so, or did not end it
// itself.
func (f *Failure) Passes() bool { return f.Code == code.Code_UNAVAILABLE.String() || f.Reason == "" }

// failed reads the details of a call's error; nil for none.
func failed(err error) error {
	if err == nil {
		return nil
	}
	answer := status.Convert(err)
	f := &Failure{
		Code:       code.Code(answer.Code()).String(),
		Metadata:   map[string]string{},
		Violations: [][2]string{},
		Quota:      [][2]string{},
		err:        err,
	}
	// A kind of detail that is not known here is no error.
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			f.Reason, f.Domain = detail.GetReason(), detail.GetDomain()
			for key, value := range detail.GetMetadata() {
				f.Metadata[key] = value
			}
		case *errdetails.BadRequest:
			for _, one := range detail.GetFieldViolations() {
				f.Violations = append(f.Violations, [2]string{one.GetField(), one.GetDescription()})
			}
		case *errdetails.QuotaFailure:
			for _, one := range detail.GetViolations() {
				f.Quota = append(f.Quota, [2]string{one.GetSubject(), one.GetDescription()})
			}
		case *errdetails.RetryInfo:
			seconds := detail.GetRetryDelay().AsDuration().Seconds()
			f.RetryDelay = &seconds
		}
	}
	return f
}

// Client is a service's client of the API: deadlines, retries, errors that a program can read, streams that resume.
type Client struct {
	connection *grpc.ClientConn
	runs       v1.RunServiceClient
	token      string
	deadline   time.Duration
}

// NewClient makes a client. serviceConfig is the path of docs/service_config.json, or of a copy.
func NewClient(server, token, serviceConfig string, deadline time.Duration) (*Client, error) {
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config)),
		// Finds a connection that is dead although nobody has closed it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		return nil, err
	}
	return &Client{connection, v1.NewRunServiceClient(connection), token, deadline}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.connection.Close() }

func (c *Client) authorized(ctx context.Context) context.Context {
	if c.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
}

// call makes one unary call with the token and the deadline.
func call[Request, Response any](ctx context.Context, c *Client,
	method func(context.Context, *Request, ...grpc.CallOption) (*Response, error), request *Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(c.authorized(ctx), c.deadline)
	defer cancel()
	response, err := method(ctx, request)
	return response, failed(err)
}

// Create returns the run; the same one whenever it is called again with this requestID.
func (c *Client) Create(ctx context.Context, spec *v1.RunSpec, name, requestID string) (*v1.Run, error) {
	return call(ctx, c, c.runs.CreateRun,
		&v1.CreateRunRequest{Run: &v1.Run{Spec: spec}, RunId: name, RequestId: requestID})
}

// Get returns one run.
func (c *Client) Get(ctx context.Context, name string) (*v1.Run, error) {
	return call(ctx, c, c.runs.GetRun, &v1.GetRunRequest{Name: name})
}

// Quota returns the caller's.
func (c *Client) Quota(ctx context.Context) (*v1.Quota, error) {
	return call(ctx, c, c.runs.GetQuota, &v1.GetQuotaRequest{})
}

// Pages hands over every run that the caller sees, newest first, page by page.
func (c *Client) Pages(ctx context.Context, pageSize int32, page func([]*v1.Run)) error {
	request := &v1.ListRunsRequest{PageSize: pageSize}
	for {
		answer, err := call(ctx, c, c.runs.ListRuns, request)
		if err != nil {
			return err
		}
		page(answer.GetRuns())
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return nil
		}
	}
}

// Cancel returns one result each; one that could not be canceled is no error, its result says why.
func (c *Client) Cancel(ctx context.Context, names []string) ([]*v1.CancelRunsResponse_Result, error) {
	answer, err := call(ctx, c, c.runs.CancelRuns, &v1.CancelRunsRequest{Names: names})
	return answer.GetResults(), err
}

// Watch hands over the events of a run behind number afterSeq, each once and in order, to the run's end or until seen
// returns false.
//
// A stream that breaks is opened again behind the last event; broken is told. A Failure when it cannot be, or when
// nothing came for as long as patience says.
func (c *Client) Watch(ctx context.Context, name string, afterSeq int64, seen func(*v1.RunEvent) bool,
	broken func(*Failure)) error {
	heard, backoff := time.Now(), 200*time.Millisecond
	for {
		messages := 0
		err := c.follow(ctx, name, afterSeq, func(message *v1.WatchEventsResponse) bool {
			messages++
			for _, event := range message.GetEvents() {
				afterSeq = event.GetSeq()
				if !seen(event) {
					return false
				}
			}
			return true
		})
		if err == nil {
			return nil
		}
		if messages > 0 {
			heard, backoff = time.Now(), 200*time.Millisecond
		}
		var failure *Failure
		if !errors.As(failed(err), &failure) || !failure.Passes() || ctx.Err() != nil || time.Since(heard) > patience {
			return failure
		}
		broken(failure)
		wait := time.Duration(float64(backoff) * (0.5 + rand.Float64()/2))
		if failure.RetryDelay != nil {
			wait = time.Duration(*failure.RetryDelay * float64(time.Second))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if backoff *= 2; backoff > maxBackoff {
			backoff = maxBackoff
		}
	}
}

// follow reads one stream to its end, or until take returns false.
func (c *Client) follow(ctx context.Context, name string, afterSeq int64,
	take func(*v1.WatchEventsResponse) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	stream, err := c.runs.WatchEvents(c.authorized(ctx), &v1.WatchEventsRequest{Name: name, AfterSeq: afterSeq})
	for err == nil {
		var message *v1.WatchEventsResponse
		if message, err = stream.Recv(); err != nil {
			break
		}
		alive.Reset(silence)
		if !take(message) {
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
