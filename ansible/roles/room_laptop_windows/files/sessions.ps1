# Who sits at the laptop: a desktop of the guest, locked (idle) or in use.

function Get-GuestSessions($Config) {
    $locked = @(Get-CimInstance -ClassName Win32_Process -Filter "Name='LogonUI.exe'" | ForEach-Object { $_.SessionId })
    $found = @()
    foreach ($shell in (Get-CimInstance -ClassName Win32_Process -Filter "Name='explorer.exe'")) {
        try {
            $owner = Invoke-CimMethod -InputObject $shell -MethodName GetOwner
        } catch [Microsoft.Management.Infrastructure.CimException] {
            continue  # it has just ended
        }
        if ($owner.User) {
            $found += @{ id = $shell.SessionId; user = $owner.User; idle = ($locked -contains $shell.SessionId) }
        }
    }
    return $found
}

function Stop-GuestSessions($Config, [int]$Seconds) {
    # True when the guest's profile is loaded by nobody any more.
    foreach ($session in @(Get-GuestSessions $Config)) {
        & "$env:SystemRoot\System32\logoff.exe" $session.id | Out-Null
    }
    $until = [DateTime]::UtcNow.AddSeconds($Seconds)
    while ([DateTime]::UtcNow -lt $until) {
        $loaded = @(Get-GuestProfiles $Config | Where-Object { $_.Loaded })
        if ($loaded.Count -eq 0 -and @(Get-GuestSessions $Config).Count -eq 0) { return $true }
        Start-Sleep -Milliseconds 500
    }
    return $false
}
