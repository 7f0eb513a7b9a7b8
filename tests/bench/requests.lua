-- What wrk sends: each request for other numbers and with another fingerprint, by the keys of many callers in turn.
--
-- wrk -s requests.lua URL -- KEYS THREADS ENTRIES BULK FIRST PAUSE SAME
--   KEYS     a file with a line for each caller: account, API key, numbers in a range, the first number of each range
--   THREADS  as in -t
--   ENTRIES  numbers in a list
--   BULK     token requests in a request to /v1/tokens; 0: one, to the token endpoint
--   FIRST    which request this is, counted over all runs, so that no run repeats the numbers of another
--   PAUSE    milliseconds after which a client repeats what was refused by 503. Then the good answers alone are timed,
--            by the time of the request, which comes back in the fingerprint; not in bulk. 0: neither
--   SAME     1: the same fingerprint in all requests, that of the number 0; 0: another in each
--
-- At the end it prints a line of JSON. BENCH_PORTS in the environment: the ports of the replicas, which the threads ask in
-- turn.

local bit = require("bit")
local ffi = require("ffi")
ffi.cdef([[
struct timeval { long seconds; long micros; };
int gettimeofday(struct timeval *now, void *zone);
]])
local clock = ffi.new("struct timeval")

-- Of one thread; wrk reads the global ones at the end.
local callers, entries, bulk, first, pause, same = {}, 1, 0, 0, 0, false
local sent, threads, refused = 0, 1, 0
id, good, other, mismatched, admitted = 0, 0, 0, 0, {}
-- Of the thread that starts the others.
local all = {}

-- Latencies are counted in buckets, each 2 % wider than the one before.
local STEP = math.log(1.02)

local ports = {}
for port in (os.getenv("BENCH_PORTS") or ""):gmatch("%d+") do
    table.insert(ports, port)
end

function setup(thread)
    if #ports > 1 then
        thread.addr = wrk.lookup("127.0.0.1", ports[#all % #ports + 1])[1]
    end
    thread:set("id", #all)
    table.insert(all, thread)
end

function init(args)
    for line in io.lines(args[1]) do
        local caller = { ranges = {} }
        for word in line:gmatch("%S+") do
            if not caller.account then
                caller.account = word
            elseif not caller.key then
                caller.key = word
            elseif not caller.size then
                caller.size = tonumber(word)
            else
                table.insert(caller.ranges, tonumber(word))
            end
        end
        caller.path = "/at/account/" .. caller.account .. "/token"
        caller.headers = { ["Authorization"] = "Bearer " .. caller.key, ["Content-Type"] = "application/json" }
        table.insert(callers, caller)
    end
    threads, entries, bulk = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
    first, pause, same = tonumber(args[5]), tonumber(args[6]), args[7] == "1"
    if pause > 0 then
        response, delay = note, wait
    end
end

local function micros()
    ffi.C.gettimeofday(clock, nil)
    return tonumber(clock.seconds) * 1e6 + tonumber(clock.micros)
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local DIGITS, VALUES = {}, {}
for value = 0, 63 do
    DIGITS[value] = ALPHABET:sub(value + 1, value + 1)
    VALUES[ALPHABET:byte(value + 1)] = value
end

-- base64url without padding (RFC 4648 section 5).
local function encode(text)
    local out, n = {}, 0
    for i = 1, #text, 3 do
        local a, b, c = text:byte(i, i + 2)
        local bits = a * 65536 + (b or 0) * 256 + (c or 0)
        out[n + 1] = DIGITS[bit.rshift(bits, 18)]
        out[n + 2] = DIGITS[bit.band(bit.rshift(bits, 12), 63)]
        out[n + 3] = b and DIGITS[bit.band(bit.rshift(bits, 6), 63)] or ""
        out[n + 4] = c and DIGITS[bit.band(bits, 63)] or ""
        n = n + 4
    end
    return table.concat(out)
end

local function decode(text)
    local out = {}
    for i = 1, #text, 4 do
        local a, b, c, d = text:byte(i, i + 3)
        local bits = VALUES[a] * 262144 + VALUES[b or 65] * 4096 + VALUES[c or 65] * 64 + VALUES[d or 65]
        out[#out + 1] = string.char(bit.rshift(bits, 16), bit.band(bit.rshift(bits, 8), 255), bit.band(bits, 255))
    end
    return table.concat(out)
end

local function length(n)
    if n < 128 then
        return string.char(n)
    elseif n < 256 then
        return string.char(0x81, n)
    end
    return string.char(0x82, math.floor(n / 256), n % 256)
end

-- The TNAuthList (RFC 8226 section 9) of the caller's numbers from the nth on.
local function list(caller, nth)
    local ones = {}
    for k = nth, nth + entries - 1 do
        local range = caller.ranges[k % #caller.ranges + 1]
        local number = range + math.floor(k / #caller.ranges) % caller.size
        ones[#ones + 1] = string.format("\162\13\22\11%011.0f", number)
    end
    local content = table.concat(ones)
    return encode("\48" .. length(#content) .. content)
end

-- Eight bytes that differ, and the rest as it is.
local REST = string.rep(":5E", 24)
local function fingerprint(number)
    local high, low = math.floor(number / 65536), number % 65536
    local top = math.floor(high / 4294967296)
    high = high % 4294967296
    local hex = string.format("%04X%08X%04X", top, high, low)
    return "SHA256 " .. hex:gsub("(%x%x)", "%1:"):sub(1, 23) .. REST
end

local function ask(caller, nth, unique)
    return string.format(
        '"tktype":"TNAuthList","tkvalue":"%s","ca":false,"fingerprint":"%s"', list(caller, nth), fingerprint(same and 0 or unique)
    )
end

function request()
    local which = first + sent * threads + id
    sent = sent + 1
    local caller = callers[which % #callers + 1]
    local turn = math.floor(which / #callers)
    if bulk == 0 then
        local unique = pause > 0 and micros() or which
        return wrk.format("POST", caller.path, caller.headers, "{" .. ask(caller, turn * entries, unique) .. "}")
    end
    local items = {}
    for item = 0, bulk - 1 do
        local asked = ask(caller, (turn * bulk + item) * entries, which * bulk + item)
        items[#items + 1] = '{"account":"' .. caller.account .. '",' .. asked .. "}"
    end
    return wrk.format("POST", "/v1/tokens", caller.headers, '{"requests":[' .. table.concat(items, ",") .. "]}")
end

-- Reads the time out of a token, which has the fingerprint that was asked for.
function note(status, headers, body)
    if status == 503 then
        refused = refused + 1
        return
    elseif status ~= 200 then
        other = other + 1
        return
    end
    good = good + 1
    local claims = body:match('"token":"[%w_-]+%.([%w_-]+)')
    local hex = claims and decode(claims):match("SHA256 ([%x:]+)")
    if not hex or hex:sub(24) ~= REST then
        mismatched = mismatched + 1
        return
    end
    local began = tonumber((hex:sub(1, 23):gsub(":", "")), 16)
    local bucket = math.floor(math.log(math.max(1, micros() - began)) / STEP)
    admitted[bucket] = (admitted[bucket] or 0) + 1
end

-- wrk asks once after each answer how long this connection pauses. It does not say whose answer it was, so the refused
-- are counted.
function wait()
    if refused == 0 then
        return 0
    end
    refused = refused - 1
    return pause
end

local function percentile(buckets, total, share)
    local seen = 0
    for bucket = 0, 2000 do
        seen = seen + (buckets[bucket] or 0)
        if total > 0 and seen >= total * share then
            return math.exp((bucket + 0.5) * STEP)
        end
    end
    return 0
end

function done(summary, latency, requests)
    local sums, buckets, total = { good = 0, other = 0, mismatched = 0 }, {}, 0
    for _, thread in ipairs(all) do
        for name in pairs(sums) do
            sums[name] = sums[name] + thread:get(name)
        end
        for bucket, count in pairs(thread:get("admitted")) do
            buckets[bucket] = (buckets[bucket] or 0) + count
            total = total + count
        end
    end
    local errors = summary.errors
    io.write(string.format(
        'SUMMARY {"requests":%d,"micros":%d,"p50":%.0f,"p99":%.0f,"status":%d,"connect":%d,"read":%d,"write":%d,'
            .. '"timeout":%d,"good":%d,"other":%d,"mismatched":%d,"admitted_p50":%.0f,"admitted_p99":%.0f}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect, errors.read, errors.write, errors.timeout, sums.good, sums.other, sums.mismatched,
        percentile(buckets, total, 0.5), percentile(buckets, total, 0.99)
    ))
end
