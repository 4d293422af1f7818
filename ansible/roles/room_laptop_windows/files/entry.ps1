# The forced command of the agent's account, which has no rights. What the client asked for is
# compared, never run: it is laid into the inbox as a file, and the answer is read from the outbox.
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

$Asked = '^(health|status|preflight|start|verify [0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4}|follow [0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4} [0-9]{1,6})$'
$MaxJob = 16384
$WaitSeconds = 4000
$Root = Join-Path $env:ProgramData 'Raumwart'

function Read-Job {
    $stream = [Console]::OpenStandardInput()
    $buffer = New-Object byte[] ($MaxJob + 1)
    $length = 0
    while ($length -le $MaxJob) {
        $read = $stream.Read($buffer, $length, $buffer.Length - $length)
        if ($read -le 0) { break }
        $length += $read
    }
    if ($length -gt $MaxJob) { return $null }
    return [Text.Encoding]::UTF8.GetString($buffer, 0, $length)
}

function Write-Refusal([string]$Reason) {
    [Console]::Out.WriteLine('{"event":"end","result":"refused","reason":"' + $Reason + '"}')
}

function Send-Request([string]$Line, [string]$Job) {
    $id = [Guid]::NewGuid().ToString('N')
    $request = @{ v = 1; asked = $Line; job = $Job } | ConvertTo-Json -Compress
    $path = Join-Path $Root "inbox\$id.json"
    [IO.File]::WriteAllText("$path.new", $request)
    [IO.File]::Move("$path.new", $path)
    return $id
}

function Copy-Answer([string]$Id) {
    # Ends with the file `<id>.end`, which the service writes when it has said all.
    $path = Join-Path $Root "outbox\$Id.jsonl"
    $end = Join-Path $Root "outbox\$Id.end"
    $until = [DateTime]::UtcNow.AddSeconds($WaitSeconds)
    $said = 0
    $out = [Console]::OpenStandardOutput()
    while ([DateTime]::UtcNow -lt $until) {
        $over = [IO.File]::Exists($end)
        if ([IO.File]::Exists($path)) {
            $mode = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
            $file = New-Object IO.FileStream($path, [IO.FileMode]::Open, [IO.FileAccess]::Read, $mode)
            try {
                # Bytes as they are: the console's own encoding would spoil a name with an umlaut.
                [void]$file.Seek($said, [IO.SeekOrigin]::Begin)
                $file.CopyTo($out)
                $out.Flush()
                $said = $file.Position
            } finally {
                $file.Dispose()
            }
        }
        if ($over) { return }
        Start-Sleep -Milliseconds 200
    }
}

$line = [string]$env:SSH_ORIGINAL_COMMAND
if ($line -cnotmatch $Asked) {
    Write-Refusal 'bad_request'
    exit 64
}
$job = ''
if ($line -ceq 'start') { $job = Read-Job }
if ($null -eq $job) {
    Write-Refusal 'bad_job'
    exit 64
}
Copy-Answer (Send-Request $line $job)
exit 0
