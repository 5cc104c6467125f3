import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Replaces a file as a whole or not at all.
///
/// The bytes go to a temporary file in the same directory, which is flushed to the disk and then
/// renamed. Whatever fails before that, the old file is untouched and the temporary one removed;
/// only a killed process can leave one behind, hidden and with `.partial` at its end.
enum AtomicFile {
  static func write(
    to path: String, _ body: (TensorOutput) throws(TensorFileError) -> Void
  ) throws(TensorFileError) {
    let target = try resolve(path)
    let random = String(UInt64.random(in: .min ... .max), radix: 36)
    let name = target.path.lastComponent?.string ?? "tensor"
    let temporary = target.path.removingLastComponent()
      .appending(".\(name.prefix(100)).\(random).partial")
    let descriptor = try attempt("write", path) {
      try FileDescriptor.open(
        temporary, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
        permissions: target.permissions)
    }
    do throws(TensorFileError) {
      do throws(TensorFileError) {
        try body(TensorOutput(descriptor, path: path))
        try check(fsync(descriptor.rawValue), "write", path)
      } catch {
        try? descriptor.close()
        throw error
      }
      try attempt("write", path) { try descriptor.close() }
      let renamed = temporary.withPlatformString { from in
        target.path.withPlatformString { to in rename(from, to) }
      }
      try check(renamed, "write", path)
    } catch {
      _ = temporary.withPlatformString { unlink($0) }
      throw error
    }
  }

  /// Where to write and with which permissions: those of the file that is replaced. Links are
  /// followed, so that they survive; devices and directories are refused, for renaming onto
  /// `/dev/null` would replace it.
  private static func resolve(
    _ path: String
  ) throws(TensorFileError) -> (path: FilePath, permissions: FilePermissions) {
    let status: Stat
    do throws(Errno) {
      status = try Stat(FilePath(path))
    } catch {
      guard error == .noSuchFileOrDirectory else {
        throw TensorFileError(path: path, .system(operation: "write", errno: error))
      }
      return (FilePath(path), [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
    }
    guard status.type == .regular else { throw TensorFileError(path: path, .notARegularFile) }
    guard let real = realpath(path, nil) else {
      throw TensorFileError(path: path, .system(operation: "write", errno: Errno(rawValue: errno)))
    }
    defer { free(real) }
    return (FilePath(platformString: real), status.permissions)
  }

  private static func check(
    _ status: CInt, _ operation: String, _ path: String
  ) throws(TensorFileError) {
    guard status == 0 else {
      let code = Errno(rawValue: errno)
      throw TensorFileError(path: path, .system(operation: operation, errno: code))
    }
  }
}
