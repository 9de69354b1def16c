# Ends an invocation as its payload asks: {"behavior": "kill"}. Its own bootstrap on the Runtime
# API. As in AWS's client `puts` writes one frame to the log descriptor, an error that nobody
# handles is logged as two, and one that is no StandardError ends the process.
require 'json'
require 'net/http'

$stdout.sync = true
HOST, PORT = ENV.fetch('AWS_LAMBDA_RUNTIME_API').split(':')
RUNTIME = '/2018-06-01/runtime'
HUGE = 1 << 46 # no address space holds it

LOG = ENV['_LAMBDA_TELEMETRY_LOG_FD']&.then { |fd| File.open("/proc/self/fd/#{fd}", 'wb') }
LOG&.sync = true

def puts(text)
  return $stdout.write("#{text}\n") unless LOG

  now = (Time.now.to_r * 1_000_000).to_i
  LOG.write([0xa55a0003, text.bytesize, now].pack('NNQ>') + text.b)
end

def grow
  held = []
  loop { held << (held.size % 10).to_s * (1 << 20) }
end

def init(what)
  grow if what == 'kill'
  'x' * HUGE if what == 'nomemory'
end

def handle(event, id)
  (event['lines'] || []).each { |line| puts line.gsub('{id}', id) }
  case event['behavior']
  when 'kill', 'grow' then grow
  when 'nomemory' then ('x' * HUGE).size
  when 'handled'
    begin
      'x' * HUGE
    rescue NoMemoryError => e
      warn "served from disk instead: #{e.message} (#{e.class})"
    end
  when 'near-limit' then ('1' * (event['mb'] << 20)).size
  when 'crash' then exit!(event['code'] || 1)
  when 'abort' then Process.kill('ABRT', Process.pid) && sleep
  when 'timeout' then sleep
  when 'error' then raise 'asked for'
  end
  { status: 'ok' }
end

def report(error)
  { errorMessage: error.message, errorType: "Function<#{error.class}>",
    stackTrace: error.backtrace }
end

init(ENV['SANDBOX_INIT'] || '')
api = Net::HTTP.new(HOST, PORT)
api.read_timeout = nil
api.start
loop do
  invocation = api.get("#{RUNTIME}/invocation/next")
  id = invocation['Lambda-Runtime-Aws-Request-Id']
  path = "#{RUNTIME}/invocation/#{id}"
  begin
    answer = handle(JSON.parse(invocation.body), id)
    api.post("#{path}/response", JSON.generate(answer))
  rescue Exception => e
    usual = e.is_a?(StandardError)
    puts(usual ? 'Error raised from handler method' : 'Critical exception from handler')
    puts JSON.pretty_generate(report(e))
    api.post("#{path}/error", JSON.generate(report(e)))
    exit!(255) unless usual
  end
end
