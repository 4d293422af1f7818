# What the scripts share: where things lie, the answer's lines, and the journal of resets.
$Root = Join-Path $env:ProgramData 'Raumwart'

function Get-Config {
    return [IO.File]::ReadAllText("$PSScriptRoot\laptop.json") | ConvertFrom-Json
}

function Write-Line([string]$Path, $Event) {
    $text = ConvertTo-Json -InputObject $Event -Compress -Depth 4
    [IO.File]::AppendAllText($Path, $text + "`n")
}

function Read-Journal {
    $path = Join-Path $Root 'state\journal.json'
    if (-not [IO.File]::Exists($path)) { return @() }
    # PowerShell 5.1 hands a list on as one thing; only what is kept first comes out one by one.
    $runs = [IO.File]::ReadAllText($path) | ConvertFrom-Json
    return @($runs | ForEach-Object { $_ })
}

function Save-Run($Run) {
    # The newest twenty, replaced in one step.
    $path = Join-Path $Root 'state\journal.json'
    $others = @(Read-Journal | Where-Object { $_.reset_id -cne $Run.reset_id })
    $runs = @(@($others) + @($Run) | Select-Object -Last 20)
    [IO.File]::WriteAllText("$path.new", (ConvertTo-Json -InputObject $runs -Depth 6))
    if ([IO.File]::Exists($path)) {
        # A plain $null would become an empty path, which is none.
        [IO.File]::Replace("$path.new", $path, [NullString]::Value)
    } else {
        [IO.File]::Move("$path.new", $path)
    }
}

function Find-Run([string]$ResetId) {
    return Read-Journal | Where-Object { $_.reset_id -ceq $ResetId } | Select-Object -Last 1
}

function Get-LastDone {
    return Read-Journal | Where-Object { $_.phase -ceq 'done' } | Select-Object -Last 1
}

function Get-RunningReset {
    $run = Read-Journal | Where-Object { $_.phase -ceq 'running' } | Select-Object -Last 1
    if ($run) { return $run.reset_id }
    return ''
}

function Get-Now {
    return [DateTimeOffset]::UtcNow
}
