// Go's own reverse proxy at its usual settings, for comparison: one upstream, connections kept.
package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"time"
)

func main() {
	upstream, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default keeps two idle connections to a host, and opens a new one for nearly each request.
	transport.MaxIdleConnsPerHost, _ = strconv.Atoi(os.Getenv("BENCH_CONNECTIONS"))
	transport.MaxIdleConns = 0
	transport.IdleConnTimeout = 5 * time.Minute
	// Bodies go through as they are, as they do in the other proxies.
	transport.DisableCompression = true
	proxy.Transport = transport
	if os.Getenv("BENCH_FROM") != "" {
		proxy.ModifyResponse = rewrite
	}

	address := "127.0.0.1:" + os.Args[1]
	if certificate := os.Getenv("BENCH_CERT"); certificate != "" {
		log.Fatal(http.ListenAndServeTLS(address, certificate, os.Getenv("BENCH_KEY"), proxy))
	}
	log.Fatal(http.ListenAndServe(address, proxy))
}

func rewrite(response *http.Response) error {
	reader, err := gzip.NewReader(response.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	response.Body.Close()
	body = bytes.ReplaceAll(body, []byte(os.Getenv("BENCH_FROM")), []byte(os.Getenv("BENCH_TO")))
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	response.Header.Del("Content-Encoding")
	return nil
}
