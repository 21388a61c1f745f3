-- An argument after "--" is a body: it makes every request a POST.
function init(args)
  wrk.headers["User-Agent"] = "wrk"
  wrk.headers["Accept"] = "application/json"
  if args[1] then
    wrk.method = "POST"
    wrk.body = args[1]
    wrk.headers["Content-Type"] = "application/json"
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"bytes":%d,"p50":%d,"p99":%d,"p999":%d,"badStatus":%d,"socketErrors":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.status, e.connect + e.read + e.write + e.timeout))
end
