import COpenBLAS
import Tensors

/// The matrix library behind `exact`, as it describes itself.
public enum BLASLibrary {
  /// Name and version, such as `OpenBLAS 0.3.21`.
  public static var nameAndVersion: String {
    config.split(separator: " ").prefix(2).joined(separator: " ")
  }

  /// How it was configured, in its own words.
  public static var config: String { String(cString: openblas_get_config()) }

  /// The kernel it chose for this processor, such as `SkylakeX`.
  public static var core: String { String(cString: openblas_get_corename()) }

  /// The threads it may use inside one call; plans set it to 1.
  public static var threads: Int { Int(openblas_get_num_threads()) }

  /// Keeps OpenBLAS to the calling thread. Its own pool would oversubscribe the cores, and in
  /// 0.3.21 concurrent calls that use it can corrupt each other's results.
  public static func useOneThread() { openblas_set_num_threads(1) }
}
