/// The version of this package, as `attnbench --version`, `meta.json` and the C interface state it.
public enum AttnbenchVersion {
  /// Semantic version, without a leading `v`.
  public static let current = "0.1.0"
}
