// What River does on the same Postgres: river WORKLOAD SECONDS [NUMBER], with PGHOST, PGUSER, PGDATABASE. WORKLOAD as in
// ../peer.mjs: enqueue, dispatch, drain. Prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	concurrency = 64
	// As its own benchmark has it.
	maxWorkers        = 2000
	fetchCooldown     = 2 * time.Millisecond
	fetchPollInterval = 20 * time.Millisecond
	insertMany        = 5000
)

type args struct {
	N int `json:"n"`
}

func (args) Kind() string { return "job" }

type worker struct {
	river.WorkerDefaults[args]
	handle func(int)
}

func (w *worker) Work(_ context.Context, job *river.Job[args]) error {
	w.handle(job.Args.N)
	return nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func newClient(pool *pgxpool.Pool, handle func(int)) *river.Client[pgx.Tx] {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{handle: handle})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: fetchPollInterval,
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}},
		Workers:           workers,
	})
	must(err)
	return client
}

func enqueue(ctx context.Context, pool *pgxpool.Pool, length time.Duration) map[string]float64 {
	client := newClient(pool, func(int) {})
	var count atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for i := 0; i < concurrency; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Since(begin) < length {
				_, err := client.Insert(ctx, args{}, nil)
				must(err)
				count.Add(1)
			}
		}()
	}
	group.Wait()
	return map[string]float64{"per_s": float64(count.Load()) / time.Since(begin).Seconds()}
}

func dispatch(ctx context.Context, pool *pgxpool.Pool, length time.Duration, rate int) map[string]float64 {
	count := int(length.Seconds()) * rate
	begun := make([]time.Time, count)
	delays := make([]float64, count)
	var started sync.WaitGroup
	started.Add(count)
	var mutex sync.Mutex
	client := newClient(pool, func(n int) {
		now := time.Now()
		mutex.Lock()
		delays[n] = now.Sub(begun[n]).Seconds() * 1000
		mutex.Unlock()
		started.Done()
	})
	must(client.Start(ctx))
	begin := time.Now()
	for n := 0; n < count; n++ {
		time.Sleep(time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(rate))))
		mutex.Lock()
		begun[n] = time.Now()
		mutex.Unlock()
		go func(n int) {
			_, err := client.Insert(ctx, args{N: n}, nil)
			must(err)
		}(n)
	}
	started.Wait()
	sort.Float64s(delays)
	at := func(part float64) float64 {
		return delays[int(math.Min(float64(count-1), math.Floor(part*float64(count))))]
	}
	return map[string]float64{"p50_ms": at(0.5), "p99_ms": at(0.99)}
}

func drain(ctx context.Context, pool *pgxpool.Pool, length time.Duration, number int) map[string]float64 {
	var count atomic.Int64
	done := make(chan struct{})
	client := newClient(pool, func(int) {
		if count.Add(1) == int64(number) {
			close(done)
		}
	})
	for n := 0; n < number; n += insertMany {
		batch := make([]river.InsertManyParams, min(insertMany, number-n))
		for i := range batch {
			batch[i].Args = args{N: n + i}
		}
		_, err := client.InsertManyFast(ctx, batch)
		must(err)
	}
	begin := time.Now()
	must(client.Start(ctx))
	select {
	case <-done:
	case <-time.After(length):
	}
	result := map[string]float64{"per_s": float64(count.Load()) / time.Since(begin).Seconds()}
	// What has been worked on is to be stored as completed before the next round.
	must(client.Stop(ctx))
	return result
}

func main() {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig("")
	must(err)
	config.MaxConns = 24
	pool, err := pgxpool.NewWithConfig(ctx, config)
	must(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	must(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	must(err)
	number := 0
	if len(os.Args) > 3 {
		number, err = strconv.Atoi(os.Args[3])
		must(err)
	}
	seconds, err := strconv.Atoi(os.Args[2])
	must(err)
	length := time.Duration(seconds) * time.Second
	var result map[string]float64
	switch os.Args[1] {
	case "enqueue":
		result = enqueue(ctx, pool, length)
	case "dispatch":
		result = dispatch(ctx, pool, length, number)
	case "drain":
		result = drain(ctx, pool, length, number)
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}
