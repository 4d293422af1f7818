# What is true now, read and never changed: the health, and the separate look after a reset.

function Get-UnixTime {
    return [DateTimeOffset]::UtcNow.ToUnixTimeMilliseconds() / 1000.0
}

function Get-Serial {
    return ([string](Get-CimInstance -ClassName Win32_BIOS).SerialNumber).Trim()
}

function Get-Health($Config) {
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $maker = Get-CimInstance -ClassName Win32_ComputerSystem
    $disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='$env:SystemDrive'"
    $last = Get-LastDone
    $health = @{
        v = 1
        now = Get-UnixTime
        vendor = [string]$maker.Manufacturer
        model = [string]$maker.Model
        serial = Get-Serial
        name = $env:COMPUTERNAME
        firmware = "$($system.Caption) $($system.Version)"
        uptime_s = [Math]::Round(((Get-Date) - $system.LastBootUpTime).TotalSeconds)
        memory_total_bytes = [long]$system.TotalVisibleMemorySize * 1024
        memory_ratio = [Math]::Round(1 - $system.FreePhysicalMemory / $system.TotalVisibleMemorySize, 4)
        disk_free_bytes = [long]$disk.FreeSpace
        disk_ratio = [Math]::Round(1 - $disk.FreeSpace / $disk.Size, 4)
        sessions = @(Get-GuestSessions $Config).Count
        # 1077: it waits for what starts it, and nothing has.
        failed_units = @(Get-CimInstance -ClassName Win32_Service -Filter "StartMode='Auto' AND State='Stopped' AND ExitCode<>0 AND ExitCode<>1077").Count
        reboot_needed = Test-RestartNeeded
        reset_id = if ($last) { $last.reset_id } else { $null }
        used_since = if ($last) { Test-Used $Config } else { $null }
    }
    return $health + (Get-Power)
}

function Get-Power {
    $batteries = @(Get-CimInstance -ClassName Win32_Battery)
    if ($batteries.Count -eq 0) { return @{} }
    $charge = ($batteries | Measure-Object -Property EstimatedChargeRemaining -Average).Average
    return @{
        battery_ratio = [Math]::Round([Math]::Min($charge, 100) / 100, 3)
        plugged = @($batteries | Where-Object { $_.BatteryStatus -ne 1 }).Count -eq $batteries.Count
    }
}

function Test-RestartNeeded {
    $update = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired'
    $servicing = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending'
    return (Test-Path -LiteralPath $update) -or (Test-Path -LiteralPath $servicing)
}

function Test-Used($Config) {
    # The reset leaves the guest without a profile: Windows makes one at the first sign-in.
    return (@(Get-GuestProfiles $Config).Count + @(Get-GuestSessions $Config).Count) -gt 0
}

function Get-TreeHash([string]$Folder) {
    # Over names and contents; a link counts as its name. $null when it cannot be read in full.
    try {
        $sha = [Security.Cryptography.SHA256]::Create()
        $lines = New-Object Collections.Generic.List[string]
        $left = New-Object Collections.Generic.Stack[string]
        $left.Push($Folder)
        while ($left.Count -gt 0) {
            foreach ($entry in (New-Object IO.DirectoryInfo($left.Pop())).GetFileSystemInfos()) {
                $name = $entry.FullName.Substring($Folder.Length)
                $link = [bool]($entry.Attributes -band [IO.FileAttributes]::ReparsePoint)
                if ($entry -is [IO.DirectoryInfo] -and -not $link) {
                    $left.Push($entry.FullName)
                } elseif (-not $link -and $entry.Name -notmatch '^(ntuser|UsrClass)\.dat') {
                    $bytes = $sha.ComputeHash([IO.File]::ReadAllBytes($entry.FullName))
                    $name += '=' + [BitConverter]::ToString($bytes)
                }
                $lines.Add($name)
            }
        }
        $lines.Sort([StringComparer]::Ordinal)
        $all = [Text.Encoding]::UTF8.GetBytes([string]::Join("`n", $lines))
        return [BitConverter]::ToString($sha.ComputeHash($all)).Replace('-', '').ToLowerInvariant()
    } catch [UnauthorizedAccessException] {
        return $null
    } catch [IO.IOException] {
        return $null
    }
}

function Get-Proof($Config, [string]$ResetId) {
    $last = Get-LastDone
    $residue = Get-Residue $Config
    $hash = Get-TreeHash (Join-Path $Config.users 'Default')
    $left = @($residue.Keys | Where-Object { $residue[$_] -gt 0 } | Sort-Object)
    $disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='$env:SystemDrive'"
    $proof = @{
        v = 1
        now = Get-UnixTime
        asked = $ResetId
        serial = Get-Serial
        reset_id = if ($last) { $last.reset_id } else { $null }
        sessions = @(Get-GuestSessions $Config).Count
        used_since = if ($last) { Test-Used $Config } else { $null }
        home_hash = $hash
        skeleton_hash = if ($Config.default_hash) { $Config.default_hash } else { $null }
        tier = if ($last) { 'quick' } else { $null }
        # What the next guest gets is a copy of the prepared profile, and nothing is there yet.
        home_clean = ($null -ne $hash -and $hash -ceq $Config.default_hash -and $residue.profiles -eq 0)
        residue = [int]($residue.Values | Measure-Object -Sum).Sum
        residue_places = $left -join ','
        counts = $residue
        foreign_networks = $residue.wifi
        print_jobs = $residue.printing
        disk_free_bytes = [long]$disk.FreeSpace
        disk_ratio = [Math]::Round(1 - $disk.FreeSpace / $disk.Size, 4)
    }
    return $proof + (Get-Power)
}
