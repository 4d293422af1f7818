# What the scheduled task runs as SYSTEM from the start on: it takes requests out of the inbox and
# runs each in a process of its own, a reset with a hard end. It trusts the inbox no more than anybody.
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\state.ps1"

$MaxRequest = 65536
$KeepMinutes = 60
$LookSeconds = 60

function Get-Limit([string]$Work) {
    # How long the request may take: a look is short, a reset says its own time.
    try {
        $request = [IO.File]::ReadAllText($Work) | ConvertFrom-Json
        if ($request.asked -cne 'start') { return $LookSeconds }
        $seconds = [int](($request.job | ConvertFrom-Json).max_runtime_s)
        return [Math]::Max(1, [Math]::Min($seconds, 3600))
    } catch {
        return $LookSeconds
    }
}

function Start-Request([string]$Path) {
    # Moved first, into a folder that the account cannot reach: nobody exchanges it any more.
    $id = [IO.Path]::GetFileNameWithoutExtension($Path)
    $work = Join-Path $Root "work\$id.json"
    $about = New-Object IO.FileInfo($Path)
    if ($about.Length -gt $MaxRequest -or ($about.Attributes -band [IO.FileAttributes]::ReparsePoint)) {
        [IO.File]::Delete($Path)
        return $null
    }
    [IO.File]::Move($Path, $work)
    $arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$PSScriptRoot\command.ps1`" $id"
    $process = Start-Process -FilePath "$PSHOME\powershell.exe" -ArgumentList $arguments -PassThru -WindowStyle Hidden
    return @{ id = $id; process = $process; until = [DateTime]::UtcNow.AddSeconds((Get-Limit $work)) }
}

function Complete-Request($Running) {
    $answer = Join-Path $Root "outbox\$($Running.id).jsonl"
    if (-not $Running.process.HasExited) {
        # The watchdog: what is left over is stopped, and says so.
        & "$env:SystemRoot\System32\taskkill.exe" /PID $Running.process.Id /T /F | Out-Null
        Write-Line $answer @{ event = 'end'; reset_id = (Get-RunningReset); result = 'failed'; reason = 'too_long' }
    }
    [IO.File]::WriteAllText((Join-Path $Root "outbox\$($Running.id).end"), '')
    [IO.File]::Delete((Join-Path $Root "work\$($Running.id).json"))
}

function Remove-Old {
    $old = [DateTime]::UtcNow.AddMinutes(-$KeepMinutes)
    foreach ($path in [IO.Directory]::GetFiles((Join-Path $Root 'outbox'))) {
        if ([IO.File]::GetLastWriteTimeUtc($path) -lt $old) { [IO.File]::Delete($path) }
    }
}

$running = @()
while ($true) {
    try {
        foreach ($path in [IO.Directory]::GetFiles((Join-Path $Root 'inbox'), '*.json')) {
            if ([IO.Path]::GetFileName($path) -cnotmatch '^[0-9a-f]{32}\.json$') { continue }
            $begun = Start-Request $path
            if ($begun) { $running += $begun }
        }
        $now = [DateTime]::UtcNow
        foreach ($one in @($running | Where-Object { $_.process.HasExited -or $_.until -lt $now })) {
            Complete-Request $one
            $running = @($running | Where-Object { $_.id -ne $one.id })
        }
        Remove-Old
    } catch {
        Write-Warning $_.Exception.GetType().Name
    }
    Start-Sleep -Milliseconds 300
}
