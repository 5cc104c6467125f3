import SystemPackage

/// Calls `body` and states its failure as one of `path`: "cannot `operation`: ...".
func attempt<Result>(
  _ operation: String, _ path: String, _ body: () throws -> Result
) throws(TensorFileError) -> Result {
  do {
    return try body()
  } catch {
    let errno = error as? Errno ?? .ioError
    throw TensorFileError(path: path, .system(operation: operation, errno: errno))
  }
}
