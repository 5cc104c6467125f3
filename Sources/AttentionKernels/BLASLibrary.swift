import COpenBLAS
import Tensors

/// The matrix library behind `full`, as it describes itself.
public enum BLASLibrary {
  /// Name and version, such as `OpenBLAS 0.3.21`.
  public static var nameAndVersion: String {
    config.split(separator: " ").prefix(2).joined(separator: " ")
  }

  /// How it was configured, in its own words.
  public static var config: String { String(cString: openblas_get_config()) }

  /// The kernels in force, such as `SkylakeX`: chosen when the library was loaded, from the
  /// processor or from `OPENBLAS_CORETYPE`.
  public static var core: String { String(cString: openblas_get_corename()) }

  /// Whether it holds kernels for several processors and chooses among them.
  public static var choosesKernels: Bool {
    config.split(separator: " ").contains("DYNAMIC_ARCH")
  }

  /// Whether its threads are those of OpenMP, which asks each calling thread anew how many there may
  /// be: `useOneThread` then holds for the thread that called it, `OMP_NUM_THREADS=1` for all.
  public static var usesOpenMP: Bool { openblas_get_parallel() == 2 }

  /// The threads it may use inside one call; plans set it to 1.
  public static var threads: Int { Int(openblas_get_num_threads()) }

  /// Keeps OpenBLAS to the calling thread. Its own pool would oversubscribe the cores, and in
  /// 0.3.21 concurrent calls that use it can corrupt each other's results.
  public static func useOneThread() { openblas_set_num_threads(1) }
}
