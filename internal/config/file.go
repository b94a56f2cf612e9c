package config

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseFile returns the values of a settings file by key, as texts; lists are joined by commas. A key that no setting
// has, one that is there twice, and a value of the wrong shape are errors that name key and line.
func parseFile(content []byte) (map[string]string, error) {
	known := map[string]Setting{}
	for _, s := range Settings() {
		if s.Key != "" {
			known[s.Key] = s
		}
	}
	values := map[string]string{}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return values, nil // empty, or comments only
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return values, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: is not a list of keys and values", root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		s, ok := known[key.Value]
		if !ok {
			return nil, fmt.Errorf("line %d: unknown key %q", key.Line, key.Value)
		}
		if _, ok := values[key.Value]; ok {
			return nil, fmt.Errorf("line %d: key %q is there twice", key.Line, key.Value)
		}
		v, ok, err := fileValue(s, node)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", node.Line, key.Value, err)
		}
		if ok {
			values[key.Value] = v
		}
	}
	return values, nil
}

// fileValue returns the text of one value; ok is false for a null, which leaves the default.
func fileValue(s Setting, node *yaml.Node) (text string, ok bool, err error) {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Kind == yaml.ScalarNode:
		return node.Value, node.Tag != "!!null", nil
	case node.Kind == yaml.SequenceNode && s.List:
		var all []string
		for _, n := range node.Content {
			if n.Kind != yaml.ScalarNode || strings.Contains(n.Value, ",") {
				return "", false, fmt.Errorf("is a list of texts without commas")
			}
			all = append(all, n.Value)
		}
		return strings.Join(all, ","), len(all) > 0, nil
	case s.List:
		return "", false, fmt.Errorf("is a text or a list of texts")
	}
	return "", false, fmt.Errorf("is a single value")
}
