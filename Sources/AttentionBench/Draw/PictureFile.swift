import Foundation
import SystemPackage

/// Pictures and pages on disk, under names that users give.
public enum PictureFile {
  /// Writes a picture, replacing a file as a whole.
  ///
  /// - Throws: `RecordError` when it cannot be written, or `path` is a device or a directory, which
  ///   replacing would destroy.
  public static func write(_ bytes: [UInt8], to path: String) throws(RecordError) {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
      isDirectory.boolValue || !isRegularFile(path)
    {
      throw .system(
        operation: "write", path: path, errno: isDirectory.boolValue ? .isDirectory : .notSupported)
    }
    try FileBytes.replace(path, with: bytes)
  }

  private static func isRegularFile(_ path: String) -> Bool {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    return attributes?[.type] as? FileAttributeType == .typeRegular
  }
}
