//! What the command line serves in place of the configuration.

use super::application::Application;
use super::document::Layer;
use super::folder::Folder;
use crate::supervisor::settings::Settings;

/// `lsbaws serve FOLDER` or `lsbaws wsgi MODULE:CALLABLE`.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Folder(Folder),
    Application(Application),
}

impl Subject {
    /// What is served, and as which user if not as that of this process.
    pub(crate) fn describe(&self, settings: &Settings) -> String {
        let users = settings.services.values().find_map(|service| service.confinement.user.as_ref());
        let user = users.map_or(String::new(), |user| format!(" as the user {}", user.name));
        let what = match self {
            Self::Folder(folder) => folder.describe(),
            Self::Application(application) => application.describe(),
        };
        format!("{what}{user}")
    }

    /// What follows the URLs where it is served.
    pub(crate) fn find_note(&self) -> Option<String> {
        match self {
            Self::Folder(folder) => folder.find_note(),
            Self::Application(_) => None,
        }
    }

    /// The layers below all others.
    pub(super) fn push_user(&self, is_root: bool, layers: &mut Vec<Layer>) {
        match self {
            Self::Folder(folder) => folder.push_user(is_root, layers),
            Self::Application(application) => application.push_user(is_root, layers),
        }
    }

    /// The layers above the files and the environment.
    pub(super) fn push_keys(&self, layers: &mut Vec<Layer>) {
        match self {
            Self::Folder(folder) => folder.push_keys(layers),
            Self::Application(application) => application.push_keys(layers),
        }
    }
}
