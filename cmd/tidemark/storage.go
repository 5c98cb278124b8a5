package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/s3"
)

const storageVariable = "TIDEMARK_STORAGE"

// place are the flags of commands that read a storage.
type place struct {
	url           string
	applicationID string
	keyFiles      []string
	output        string
}

func (p *place) flags(cmd *cobra.Command, output bool) {
	f := cmd.Flags()
	f.StringVar(&p.url, "storage", os.Getenv(storageVariable),
		"`URL` of the storage: file:///DIR, or s3://BUCKET/PREFIX?endpoint=URL; $"+storageVariable+" is the default")
	if output {
		outputFlag(cmd, &p.output)
	}
}

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "text", "`FORMAT` of the output: text or json")
	formats := cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", formats) // the flag exists
}

func (p *place) keyFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&p.keyFiles, "encryption-key-file", nil,
		"`FILE` with an encryption key: 32 bytes, or those in hex or base64; may be repeated, for keys of before")
}

// open makes the storage of the flags.
func (p *place) open() (storage.Storage, error) {
	switch p.output {
	case "", "text", "json":
	default:
		return nil, fmt.Errorf("--output is %q: want text or json", p.output)
	}
	return openStorage(p.url)
}

// openStorage makes the storage of a URL. A path without a scheme is a directory.
func openStorage(raw string) (storage.Storage, error) {
	if raw == "" {
		return nil, errors.New("which storage? give --storage, or set " + storageVariable)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("--storage is no URL: want file:///DIR or s3://BUCKET/PREFIX")
	}
	switch u.Scheme {
	case "s3":
		return s3.Open(raw)
	case "file", "":
		if u.Host != "" && u.Host != "localhost" || u.RawQuery != "" {
			return nil, fmt.Errorf("--storage is %s: want file:///DIR, with three slashes", u.Redacted())
		}
		path := filepath.FromSlash(u.Path)
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--storage: %s is no directory", path)
		}
		return dir.New(path), nil
	}
	return nil, fmt.Errorf("--storage has the scheme %q: want file or s3", u.Scheme)
}

// cipher has the keys of the flags; nil without one.
func (p *place) cipher() (*storage.Cipher, error) {
	keys, err := p.keys()
	if err != nil {
		return nil, err
	}
	c := checkpointing.Config{OldEncryptionKeys: keys}
	return c.Cipher()
}

// keys reads the keys of the flags.
func (p *place) keys() ([][]byte, error) {
	var keys [][]byte
	for _, file := range p.keyFiles {
		key, err := readKey(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func readKey(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--encryption-key-file: %w", err)
	}
	text := string(bytes.TrimSpace(data))
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == storage.KeyBytes {
			return key, nil
		}
	}
	if len(data) != storage.KeyBytes {
		return nil, fmt.Errorf("--encryption-key-file: %s holds no key of %d bytes", file, storage.KeyBytes)
	}
	return data, nil
}

// locate makes a folder of what the user typed: that, a manifest in it, or the last part of it with --application-id.
func (p *place) locate(location string) string {
	location = strings.Trim(strings.TrimSuffix(location, "MANIFEST.json"), "/")
	if p.applicationID != "" && !strings.Contains(location, "/") {
		return p.applicationID + "/" + location
	}
	return location
}

// completeLocations offers the folders of one kind.
func (p *place) completeLocations(kinds ...checkpointing.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := p.open()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := findAll(cmd.Context(), s, p.applicationID)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, f := range found {
			for _, kind := range kinds {
				if f.Kind == kind {
					names = append(names, f.Location)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
