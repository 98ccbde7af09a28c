// Package hatchettest gives the tests of a package a Hatchet server of their own.
package hatchettest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Server is a running server with a throw-away database.
type Server struct {
	Token    string `json:"token"`
	TenantID string `json:"tenant_id"`
	Address  string `json:"grpc_address"`
	URL      string `json:"api_url"`

	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
}

// Start runs the program named by HATCHET_BINARY, or else `hatchet` on the PATH, and sets the environment from which
// hatchet.NewClient takes its settings.  The server ends with this process, however that ends: it watches the other end of
// its standard input.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "hatchettest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "handshake.json")
	binary := os.Getenv("HATCHET_BINARY")
	if binary == "" {
		binary = "hatchet"
	}
	s := &Server{cmd: exec.Command(binary, "-handshake-file", file), ended: make(chan error, 1)}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err = s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if err = s.await(file); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	for name, value := range map[string]string{
		"HATCHET_CLIENT_TOKEN":        s.Token,
		"HATCHET_CLIENT_HOST_PORT":    s.Address,
		"HATCHET_CLIENT_SERVER_URL":   s.URL,
		"HATCHET_CLIENT_TLS_STRATEGY": "none",
	} {
		if err = os.Setenv(name, value); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// The file appears, whole, when the server is ready.
func (s *Server) await(file string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the server ended: %w", err)
		case <-late:
			return errors.New("the server is not ready after a minute")
		case <-tick.C:
		}
		text, err := os.ReadFile(file)
		if err == nil {
			return json.Unmarshal(text, s)
		}
	}
}

// Stop returns when the server and its database are gone.
func (s *Server) Stop() error {
	if err := s.stdin.Close(); err != nil {
		return err
	}
	err := <-s.ended
	s.ended <- err
	return err
}
