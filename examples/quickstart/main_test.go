package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestCheckPlaysEveryStory(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-check"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	steps := 0
	for _, story := range stories() {
		steps += len(story.steps)
		if !strings.Contains(out.String(), story.title) {
			t.Errorf("the report lacks %q", story.title)
		}
	}
	if lines := strings.Count(out.String(), "   ok   "); lines != steps || steps < 40 {
		t.Errorf("%d requests went well, want %d\n%s", lines, steps, out.String())
	}
}

func TestCheckFailsOnAnyDifference(t *testing.T) {
	w, err := startWorld(ports{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close() //nolint:errcheck // the test is about something else
	w.issuer.Close()
	var out bytes.Buffer
	if err := w.play(t.Context(), &out); err == nil || !strings.Contains(out.String(), "FAIL") {
		t.Errorf("without an authorization server play = %v, want an error\n%s", err, out.String())
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"stray"}, {"-chek"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("run(%q) = nil, want an error", args)
		}
	}
}

// A person pastes the printed lines into a shell, in their order.
func TestPrintedLinesWorkWhenPasted(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl: the lines cannot be tried")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, nil, writer)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	expected := regexp.MustCompile(`^  # (.*): (\d{3})$`)
	tried, last := 0, stories()[len(stories())-1].steps
	lines := bufio.NewScanner(reader)
	var says, want string
	for lines.Scan() {
		line := lines.Text()
		if m := expected.FindStringSubmatch(line); m != nil {
			says, want = m[1], m[2]
			continue
		}
		if !strings.HasPrefix(line, "  curl") {
			continue
		}
		command := exec.CommandContext(ctx, "sh", "-c", strings.TrimSpace(line))
		command.WaitDelay = 10 * time.Second
		answer, err := command.Output()
		if err != nil {
			t.Errorf("%s: %v", says, err)
		}
		if status, _, _ := strings.Cut(string(answer), "\r\n"); !strings.Contains(status, " "+want) {
			t.Errorf("%s: %q, want %s", says, status, want)
		}
		tried++
		if says == last[len(last)-1].says {
			break
		}
	}
	if tried < 40 {
		t.Errorf("tried %d lines", tried)
	}
	cancel()
	_, _ = io.Copy(io.Discard, reader)
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
