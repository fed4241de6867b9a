package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

// Posts a file several times at once by one client, as Telegraf, Prometheus and Grafana do, and says of each which protocol
// was spoken and what was answered: PROTOCOL STATUS, a line each.
func main() {
	url, authority, token, path := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(authority)
	if err != nil {
		panic(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport}
	var all sync.WaitGroup
	for range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			request, err := http.NewRequest("POST", url, bytes.NewReader(body))
			if err != nil {
				panic(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			answer, err := client.Do(request)
			if err != nil {
				fmt.Println("failed", err)
				return
			}
			defer answer.Body.Close()
			said, _ := io.ReadAll(answer.Body)
			fmt.Println(answer.Proto, answer.StatusCode, string(said))
		}()
	}
	all.Wait()
}
