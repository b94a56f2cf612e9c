package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// adminToken returns the token of administrators: what stands in path, or a new one, which it writes there.
func adminToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		token := strings.TrimSpace(string(b))
		if len(token) < 16 {
			return "", fmt.Errorf("server: %s holds no token of at least 16 characters; delete it to have a new one made", path)
		}
		return token, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("server: admin token: %w", err)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	token := "ca_" + base64.RawURLEncoding.EncodeToString(raw[:])
	if err := writeFile(path, token+"\n"); err != nil {
		return "", fmt.Errorf("server: admin token: %w", err)
	}
	return token, nil
}

// writeFile writes a file that its owner only may read, whole or not at all.
func writeFile(path, content string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
