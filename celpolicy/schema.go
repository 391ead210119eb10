package celpolicy

import (
	_ "embed"

	"github.com/spf13/cobra"
)

// schema is the JSON Schema of policy files. Editors complete and check with it.
//
//go:embed policy.schema.json
var schema []byte

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of policy files",
		Long: `Prints the JSON Schema of policy files, with which editors complete and check them:

	caddy cel-policy schema > policy.schema.json

In YAML name it in a first line "# yaml-language-server: $schema=policy.schema.json", in JSON as the member "$schema".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}
