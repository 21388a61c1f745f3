// Go's own reverse proxy at its usual settings, for comparison: one upstream, connections kept.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	upstream, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default keeps two idle connections to a host, and opens a new one for nearly each request.
	transport.MaxIdleConnsPerHost = 256
	// Bodies go through as they are, as they do in the other proxies.
	transport.DisableCompression = true
	proxy.Transport = transport
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], proxy))
}
