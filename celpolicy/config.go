package celpolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"
)

// KeepFiles is an option of the Caddyfile adapter, true or absent. With it cel_policy keeps the names of its policy files,
// made absolute, in place of their rules: the files have tests as well, which a running configuration does not need.
const KeepFiles = "cel_policy.keep_files"

// configFlags say which policies a command is about.
type configFlags struct {
	file, adapter string
}

func (c *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "config", "c", "", "Caddyfile or JSON config with the policies")
	cmd.Flags().StringVarP(&c.adapter, "adapter", "a", "", "config adapter (default: caddyfile, unless the name ends in .json)")
}

// load returns the policies of the configuration, or of the files and folders that are named instead.
func (c *configFlags) load(names []string) ([]*loadedPolicy, error) {
	switch {
	case c.file != "" && len(names) > 0:
		return nil, errors.New("write files, or --config")
	case c.file != "":
		return c.loadConfig()
	case len(names) == 0:
		return nil, errors.New("write the files or folders to test, or --config")
	}
	paths, err := findPolicies(names)
	if err != nil {
		return nil, err
	}
	var policies []*loadedPolicy
	var mistakes []error
	for _, path := range paths {
		policy := new(loadedPolicy)
		file, err := readPolicyFile("", path)
		if err == nil {
			policy.files = []*policyFile{file}
			err = policy.merge(Policy{})
		}
		policies, mistakes = append(policies, policy), append(mistakes, err)
	}
	return policies, errors.Join(mistakes...)
}

// findPolicies returns the files that are named, and those in and below the folders that are.
func findPolicies(names []string) (paths []string, err error) {
	for _, name := range names {
		if isToken(name) {
			return nil, errors.New(tokenGiven)
		}
		name, found := filepath.Clean(name), false
		err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
			hidden := path != name && strings.HasPrefix(entry.Name(), ".")
			switch {
			case err != nil:
				return err
			case entry.IsDir() && hidden:
				return fs.SkipDir
			case entry.IsDir() || hidden:
				return nil
			}
			extension := strings.ToLower(filepath.Ext(path))
			if path == name || slices.Contains([]string{".yaml", ".yml", ".json"}, extension) {
				if found = true; !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%s: there is no policy file in it", name)
		}
	}
	return paths, nil
}

func (c *configFlags) loadConfig() ([]*loadedPolicy, error) {
	data, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	adapter := c.adapter
	if adapter == "" && !strings.EqualFold(filepath.Ext(c.file), ".json") {
		adapter = "caddyfile"
	}
	if adapter != "" {
		known := caddyconfig.GetAdapter(adapter)
		if known == nil {
			return nil, fmt.Errorf("unknown config adapter %q", adapter)
		}
		if data, _, err = known.Adapt(data, map[string]any{"filename": c.file, KeepFiles: true}); err != nil {
			return nil, fmt.Errorf("adapting %s: %w", c.file, err)
		}
	}
	var config any
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", c.file, err)
	}
	var policies []*loadedPolicy
	err = eachHandler(config, "", func(path string, raw map[string]any) error {
		policy, err := loadHandler(raw)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", c.file, path, err)
		}
		policies = append(policies, policy)
		return nil
	})
	if err == nil && len(policies) == 0 {
		err = fmt.Errorf("%s has no cel_policy", c.file)
	}
	return policies, err
}

// eachHandler calls found for each cel_policy in a configuration, in the order of the configuration.
func eachHandler(value any, path string, found func(path string, raw map[string]any) error) error {
	switch value := value.(type) {
	case map[string]any:
		if value["handler"] == "cel_policy" {
			return found(path, value)
		}
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if err := eachHandler(value[name], path+"/"+name, found); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range value {
			if err := eachHandler(item, path+"/"+strconv.Itoa(i), found); err != nil {
				return err
			}
		}
	}
	return nil
}

func loadHandler(raw map[string]any) (*loadedPolicy, error) {
	delete(raw, "handler")
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	h := new(Handler)
	if err := caddy.StrictUnmarshalJSON(text, h); err != nil {
		return nil, err
	}
	policy, err := load(h.Policy, "", h.File)
	if err != nil {
		return nil, err
	}
	policy.reportOnly = h.ReportOnly
	return policy, nil
}
