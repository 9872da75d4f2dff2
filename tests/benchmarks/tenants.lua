-- For wrk: each request goes to the next host of the file named by TARGETS, whose lines are `host token` (or `host`).
local path = os.getenv("TARGET_PATH")
local requests, i = {}, 0
init = function()
  for line in io.lines(os.getenv("TARGETS")) do
    local host, token = line:match("^(%S+)%s*(%S*)$")
    local headers = { ["Host"] = host }
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end
request = function()
  i = i % #requests + 1
  return requests[i]
end
