import Attention
import Statistics
import Units

/// The version of this package, as `attnbench --version` and `meta.json` state it.
public enum AttnbenchVersion {
  /// Semantic version, without a leading `v`.
  public static let current = "0.1.0"
}
